"""``jobs stack``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...control.stacks import stack
from ..arguments import add_verb
from .output import one_line, write_json
from .selection import one


def add_stack(verbs: Any) -> None:
    """Add ``jobs stack``."""
    text = gettext_noop("Show where a running job is: its stack, without values of variables.")
    parser = add_verb(verbs, "stack", text, "job_id", "timeout")
    parser.add_argument("job_id", metavar="ID")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help=_("maximum seconds to wait (10)")
    )


def show_stack(
    out: OutputWrapper, *, using: str, as_json: bool, job_id: str, timeout: float
) -> None:
    """Print a line for each frame of the job, the innermost last."""
    try:
        found = stack(one(job_id, using).pk, timeout=timeout, using=using)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if found.problem:
        raise CommandError(one_line(found.problem))
    if as_json:
        names = ("file", "line", "function")
        write_json(out, [dict(zip(names, frame, strict=True)) for frame in found.frames])
        return
    for file, line, name in found.frames:
        out.write(one_line(f"{file}:{line} in {name}"))
