"""The options that choose jobs, of ``jobs list`` and of the verbs that change jobs."""

from __future__ import annotations

import argparse
import datetime
import re
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from ...define import registry
from ...display.argument_search import LONGEST_VALUE, argument_is, most_conditions
from ...metrics.capped_count import of_status
from ...models import Job, JobQuerySet

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

#: What the parsers below set, besides the status.
FILTERS = ("name", "queue", "error", "since", "older_than", "having")
# Flags that differ from the names of their options.
_FLAGS = {"older_than": "older-than", "having": "args"}


def add_filters(parser: argparse.ArgumentParser, statuses: Iterable[Any] = ()) -> None:
    """Add the options; ``--status`` only if there are *statuses*."""
    if statuses:
        names = [str(status) for status in statuses]
        parser.add_argument("--status", type=str.upper, choices=names)
    parser.add_argument("--name", help=_("a job function: its name, or a part of it"))
    parser.add_argument("--queue")
    parser.add_argument("--error", metavar="TEXT", help=_("a part of the error or its message"))
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help=_("enqueued after this: 30m, 2h, 7d or a date")
    )
    parser.add_argument(
        "--older-than", type=moment, metavar="TIME", help=_("enqueued before this: 7d or a date")
    )
    parser.add_argument(
        "--args", dest="having", action="append", metavar="NAME=VALUE",
        help=_("with this argument; repeatable"),
    )  # fmt: skip


def moment(text: str) -> datetime.datetime:
    """Return the time that is an age before now, such as ``2h``, or that is a date or a time."""
    if age := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text):
        try:
            return timezone.now() - datetime.timedelta(seconds=float(age[1]) * _SECONDS[age[2]])
        except OverflowError:
            raise argparse.ArgumentTypeError(f"must be after the year 1, got {text!r}.") from None
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)) is not None:
            found = datetime.datetime.combine(day, datetime.time())
    except ValueError:
        found = None
    if found is None:
        raise argparse.ArgumentTypeError(
            f"must be an age such as 30m, 2h or 7d, or a time such as 2026-11-27 or "
            f"2026-11-27T09:30, got {text!r}."
        )
    if settings.USE_TZ and timezone.is_naive(found):
        return timezone.make_aware(found)
    return found if settings.USE_TZ or timezone.is_naive(found) else timezone.make_naive(found)


def given_flags(filters: dict[str, Any]) -> list[str]:
    """Return the flags of the filters that the command line has."""
    return [_flag(name) for name, value in filters.items() if value is not None]


def flags(filters: dict[str, Any]) -> str:
    """Return the flags of all the filters, as text."""
    return ", ".join(map(_flag, filters))


def _flag(name: str) -> str:
    return f"--{_FLAGS.get(name, name)}"


def matching(
    using: str,
    *,
    status: str | None = None,
    name: str | None = None,
    queue: str | None = None,
    error: str | None = None,
    since: datetime.datetime | None = None,
    older_than: datetime.datetime | None = None,
    having: list[str] | None = None,
) -> JobQuerySet:
    """Return the jobs that all filters match; None matches all."""
    jobs: Any = Job.objects.using(using).all()
    if status is not None:
        jobs = of_status(jobs, status)
    if name is not None:
        jobs = jobs.filter(**{_lookup(name): name})
    if queue is not None:
        jobs = jobs.filter(queue=queue)
    if error is not None:
        jobs = jobs.filter(Q(error_class__icontains=error) | Q(error_message__icontains=error))
    if since is not None:
        jobs = jobs.filter(enqueued_at__gte=since)
    if older_than is not None:
        jobs = jobs.filter(enqueued_at__lt=older_than)
    if len(having or ()) > most_conditions():
        raise CommandError(f"Give --args at most {most_conditions()} times.")
    for each in having or ():
        argument, equals, value = each.partition("=")
        if not argument or not equals:
            raise CommandError(f"--args must be NAME=VALUE, got {each!r}.")
        if len(value) > LONGEST_VALUE:
            raise CommandError(
                f"The value of --args {argument} has {len(value)} characters; at most "
                f"{LONGEST_VALUE} can be searched for."
            )
        jobs = jobs.filter(argument_is(argument, value))
    selected: JobQuerySet = jobs
    return selected


def _lookup(name: str) -> str:
    """Return the lookup of a name: whole, if the code has a job function of this name."""
    return "name" if registry.find(name) is not None else "name__icontains"
