"""Tables for people and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.core.management.base import OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...failure import printable as printable
from ...status import Status
from ..width import padded, width

#: The titles of the tables and the names of the fields, marked for the catalogue.
TITLES = (
    gettext_noop("ANSWER"), gettext_noop("ARGUMENTS"), gettext_noop("ATTEMPT"),
    gettext_noop("BEGAN"), gettext_noop("BUSY"), gettext_noop("CHECK"), gettext_noop("DATABASE"),
    gettext_noop("CONSEQUENCES"), gettext_noop("DAY"), gettext_noop("HOUR"), gettext_noop("WEEK"),
    gettext_noop("DONE"), gettext_noop("EXPIRES"), gettext_noop("MADE"),
    gettext_noop("PERMISSIONS"), gettext_noop("PROGRESS"), gettext_noop("USER"),
    gettext_noop("ERROR"), gettext_noop("FOR"), gettext_noop("FUNCTION"),
    gettext_noop("HEARTBEAT"), gettext_noop("HOST"), gettext_noop("ID"), gettext_noop("JOB"),
    gettext_noop("JOBS"), gettext_noop("LAST"), gettext_noop("LIMITED TO"), gettext_noop("MEMORY"),
    gettext_noop("NAME"), gettext_noop("NEXT"), gettext_noop("OLDEST"), gettext_noop("PAUSED"),
    gettext_noop("PID"), gettext_noop("POOL"), gettext_noop("QUEUE"), gettext_noop("QUEUES"),
    gettext_noop("READY"), gettext_noop("RESULT"), gettext_noop("RUN"), gettext_noop("RUNNING"),
    gettext_noop("RUNS"),
    gettext_noop("SETS"), gettext_noop("SKIPPED"), gettext_noop("SLOTS"), gettext_noop("STATE"),
    gettext_noop("STATUS"), gettext_noop("STEP"), gettext_noop("TOOK"), gettext_noop("UNTIL"),
    gettext_noop("UP"), gettext_noop("WAIT"), gettext_noop("WHEN"),
    gettext_noop("WHY"), gettext_noop("WORKER"), gettext_noop("WORKERS"),
)  # fmt: skip
FIELDS = (
    gettext_noop("id"), gettext_noop("job"), gettext_noop("status"), gettext_noop("queue"),
    gettext_noop("key"), gettext_noop("retries"), gettext_noop("enqueued"), gettext_noop("run"),
    gettext_noop("ready"), gettext_noop("started"), gettext_noop("ended"), gettext_noop("expires"),
    gettext_noop("wait"), gettext_noop("args"), gettext_noop("kwargs"), gettext_noop("headers"),
    gettext_noop("result"), gettext_noop("progress"), gettext_noop("error"), gettext_noop("log"),
    gettext_noop("waits"),
)  # fmt: skip


#: The attribute of the output that has the style of the command, where there are colours.
STYLE = "style_of_jobs"
# The roles of Django's styles, which a user sets by DJANGO_COLORS.
_ROLES = {
    Status.SUCCESS: "SUCCESS", Status.FAILURE: "ERROR", Status.RETRY: "WARNING",
    Status.REVOKED: "NOTICE", Status.STARTED: "HTTP_NOT_MODIFIED",
}  # fmt: skip


def one_line(text: object) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def write_json(out: OutputWrapper, value: Any) -> None:
    out.write(json.dumps(value, indent=2, cls=DjangoJSONEncoder))


def write_table(
    out: OutputWrapper, titles: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Print *rows* in columns as wide as their widest cell; numbers are aligned at the right."""
    lines = [[_(title) for title in titles], *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    aligned = [_are_numbers(column) for column in zip(*rows, strict=True)] or [False] * len(titles)
    paint = painter(out)
    for line in lines:
        cells = [
            f"{' ' * (room - width(cell))}{cell}" if is_number else padded(cell, room)
            for cell, room, is_number in zip(line, widths, aligned, strict=True)
        ]
        out.write("  ".join(map(paint, cells)).rstrip())


def _are_numbers(column: Iterable[object]) -> bool:
    cells = [cell for cell in column if cell not in ("", None)]
    return bool(cells) and all(isinstance(cell, (int, float)) for cell in cells)


def painter(out: OutputWrapper) -> Callable[[str], str]:
    """Return a function that colours a status; without a terminal it changes nothing."""
    style = getattr(out, STYLE, None)
    if style is None:
        return lambda cell: cell
    paints = {str(status): getattr(style, role) for status, role in _ROLES.items()}

    def paint(cell: str) -> str:
        status = cell.strip()
        found = paints.get(status)
        return cell.replace(status, found(status)) if found else cell

    return paint


def served(queues: Sequence[str], excluded: Sequence[str]) -> str:
    """Return the queues that a worker serves, as text."""
    text = ", ".join(map(str, queues)) or _("all queues")
    if not excluded:
        return text
    names = ", ".join(map(str, excluded))
    return _("%(queues)s but %(excluded)s") % {"queues": text, "excluded": names}


def write_fields(out: OutputWrapper, fields: Sequence[tuple[str, object]]) -> None:
    """Print one name and value per line; further lines of a value are indented."""
    names = [_(name) for name, _value in fields]
    room = max(map(width, names)) + 2
    for name, (_name, value) in zip(names, fields, strict=True):
        text = printable(value).replace("\n", "\n" + " " * room)
        out.write(f"{padded(name, room)}{text}".rstrip())
