"""The log lines that jobs with ``keep_log`` keep, for people."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence

from ..models import AttemptLog, Job
from .times import local_text


@dataclasses.dataclass(frozen=True, slots=True)
class ShownLine:
    #: In the current time zone, to the millisecond.
    time: str
    level: str
    logger: str
    text: str
    #: ``"error"``, ``"warning"`` or empty.
    kind: str


@dataclasses.dataclass(frozen=True, slots=True)
class ShownLog:
    lines: Sequence[ShownLine]
    #: How many lines came before these.
    left_out: int


def logs_of(job: Job) -> list[AttemptLog]:
    """Return the logs of the job's attempts, the newest first."""
    return list(AttemptLog.objects.using(job._state.db).filter(job_id=job.pk).order_by("-id"))


def shown_log(log: AttemptLog, text: Callable[[str], str]) -> ShownLog:
    """Return the lines without the secrets that *text* hides."""
    levels = logging.getLevelNamesMapping()
    lines = []
    for line in log.read():
        level = levels.get(line.level, logging.INFO)
        kind = "warning" if level >= logging.WARNING else ""
        kind = "error" if level >= logging.ERROR else kind
        # Indented, so that a job cannot forge a line.
        shown = text(line.text).replace("\n", "\n  ")
        lines.append(ShownLine(local_text(line.time), line.level, line.logger, shown, kind))
    return ShownLog(lines, log.left_out)
