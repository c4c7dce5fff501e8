"""``jobs edit``."""

from __future__ import annotations

import datetime
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...control.editing import edit
from ...db import unix_time
from ...exceptions import JobsError
from ...worker.flag_types import seconds
from ..arguments import add_verb
from .enqueuing import parsed_json
from .output import printable, write_json
from .selection import one


def add_edit(verbs: Any) -> None:
    """Add ``jobs edit``."""
    text = gettext_noop("Edit a job that no worker has claimed: arguments, queue, priority, time.")
    names = ("job_id", "arguments", "keywords", "queue", "priority", "at", "countdown")
    parser = add_verb(verbs, "edit", text, *names)
    parser.add_argument("job_id", metavar="ID")
    # Django reserves "args" in a command's options.
    parser.add_argument(
        "--args", dest="arguments", metavar="JSON", help=_("new arguments, a JSON array")
    )
    parser.add_argument(
        "--kwargs", dest="keywords", metavar="JSON", help=_("new keyword arguments, a JSON object")
    )
    parser.add_argument("--queue", help=_("the new queue"))
    parser.add_argument("--priority", type=int, metavar="N", help=_("the new priority"))
    parser.add_argument("--at", metavar="TIME", help=_("the new time, as in 2026-12-31T23:59"))
    parser.add_argument(
        "--in", type=seconds, dest="countdown", metavar="S", help=_("the new time, in S seconds")
    )


def edit_job(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    job_id: str,
    arguments: str | None,
    keywords: str | None,
    queue: str | None,
    priority: int | None,
    at: str | None,
    countdown: float | None,
) -> None:
    """Change the job, and print what changed without its secrets."""
    if all(each is None for each in (arguments, keywords, queue, priority, at, countdown)):
        raise CommandError("Give --args, --kwargs, --queue, --priority, --at or --in.")
    if at is not None and countdown is not None:
        raise CommandError("Give --at or --in, not both.")
    job = one(job_id, using)
    options: dict[str, Any] = {
        "queue": queue,
        "priority": priority,
        "eta": _eta(at, countdown, using),
    }
    if arguments is not None:
        options["args"] = parsed_json("--args", arguments, list, "an array, as in '[1, 2]'")
    if keywords is not None:
        wanted = """an object, as in '{"user_id": 1}'"""
        options["kwargs"] = parsed_json("--kwargs", keywords, dict, wanted)
    try:
        changed = edit(job.pk, using=using, **options)
    except (ValueError, TypeError, JobsError) as error:
        raise CommandError(printable(str(error))) from None
    if as_json:
        write_json(out, {"id": job.pk, "changed": changed})
    else:
        out.write(printable(changed) or _("Nothing changed."))


def _eta(at: str | None, countdown: float | None, using: str) -> datetime.datetime | None:
    if countdown is not None:
        return datetime.datetime.fromtimestamp(unix_time(using) + countdown, datetime.UTC)
    if at is None:
        return None
    try:
        moment = parse_datetime(at)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"--at must be a time such as 2026-12-31T23:59, got {at!r}.")
    return moment
