from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.conf import settings
from django.db import models
from django.utils import timezone

from ..status import Status
from .fields import OneKindField
from .job import Job


class LogLine(NamedTuple):
    """A line that a job has logged, without secrets; ``time`` is by the worker's clock."""

    time: datetime.datetime
    level: str
    logger: str
    #: The message, and the traceback if the record has one.
    text: str


class AttemptLog(models.Model):
    """The last log lines of one attempt, with any end, of a job with ``keep_log``."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, db_constraint=False, related_name="logs")
    attempt = models.IntegerField()
    claims = models.IntegerField()
    status = models.CharField(max_length=9, choices=Status.choices)
    worker_id = models.UUIDField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    #: As :class:`django_jobs.values.KeptLines` has them.
    log_lines = OneKindField(default=list)
    left_out = models.IntegerField(default=0)

    class Meta:
        default_permissions = ()
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.job_id} #{self.attempt}"

    def read(self) -> list[LogLine]:
        """Return the lines, the oldest first."""
        return list(read_lines(self.log_lines))


def read_lines(stored: Iterable[Any]) -> Iterator[LogLine]:
    """Yield the lines that a row has; what somebody wrote into it by hand is left out."""
    for line in stored:
        if not isinstance(line, list) or len(line) != 4:
            continue
        try:
            moment = datetime.datetime.fromtimestamp(line[0], datetime.UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            continue
        time = moment if settings.USE_TZ else timezone.make_naive(moment)
        yield LogLine(time, *map(str, line[1:]))
