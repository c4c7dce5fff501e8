"""The attempts of one job, for its page."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..display.attempt_logs import ShownLog, shown_log
from ..display.job_text import short_class
from ..display.times import duration
from ..models import Attempt, AttemptLog, Job, Worker
from ..status import Status
from .badges import moment, status_badge
from .tracebacks import Part, parts

#: A job with unlimited retries may have thousands of attempts; the page shows the newest.
MOST_ATTEMPTS = 50


@dataclasses.dataclass(frozen=True, slots=True)
class ShownAttempt:
    #: A unique key among the job's attempts, whose numbers may repeat.
    key: int
    number: int
    status: SafeString
    worker: str
    started: SafeString
    ended: SafeString
    took: str
    error: str = ""
    message: str = ""
    traceback: Sequence[Part] = ()
    log: ShownLog | None = None


def kept_attempts(job: Job) -> list[Attempt]:
    """Return the rows of the newest attempts that did not succeed, the newest first."""
    rows = Attempt.objects.using(job._state.db).filter(job_id=job.pk)
    return list(rows.defer("error_args").order_by("-id")[:MOST_ATTEMPTS])


def attempts_of(
    job: Job, kept: Sequence[Attempt], logs: Sequence[AttemptLog], text: Callable[[str], str]
) -> list[ShownAttempt]:
    """Return the attempts to show, the newest first.

    *kept* holds the attempts that did not succeed; a running or successful one is taken from the
    job's own row. Others, such as those that snoozed, are known from the *logs* only. *text* hides
    the job's secrets in messages, tracebacks and log lines.
    """
    rows: list[Attempt | AttemptLog | Job] = [*kept]
    if job.status in (Status.STARTED, Status.SUCCESS):
        rows.insert(0, job)
    known = {row.claims for row in rows}
    rest = [log for log in logs if log.claims not in known]
    if rest:
        rows = sorted([*rows, *rest], key=lambda row: row.claims, reverse=True)
    names = _worker_names({row.worker_id for row in rows}, str(job._state.db))
    logged = {log.claims: shown_log(log, text) for log in reversed(logs)}
    return [_shown(row, names, logged.get(row.claims), text) for row in rows]


def worker_name(worker_id: UUID | None, using: str) -> str:
    return _worker_names({worker_id}, using)[worker_id]


def _worker_names(ids: set[UUID | None], using: str) -> dict[UUID | None, str]:
    rows = Worker.objects.using(using).filter(pk__in=[key for key in ids if key])
    names: dict[UUID | None, str] = dict(rows.values_list("pk", "name"))
    # The row of a worker is pruned long before the row of a failed job.
    return {key: names.get(key, _("%s (gone)") % key if key else "–") for key in ids}


def _shown(
    row: Attempt | AttemptLog | Job,
    names: dict[UUID | None, str],
    log: ShownLog | None,
    text: Callable[[str], str],
) -> ShownAttempt:
    return ShownAttempt(
        key=row.claims,
        number=row.attempt,
        # The log of a killed attempt does not tell what came afterwards.
        status=moment(None) if _is_without_end(row) else status_badge(row.status),
        worker=names[row.worker_id],
        started=moment(row.started_at, precise=True),
        ended=moment(row.ended_at, precise=True),
        took=duration(_between(row.started_at, row.ended_at)),
        log=log,
        **(_error(row, text) if isinstance(row, Attempt) else {}),
    )


def _error(attempt: Attempt, text: Callable[[str], str]) -> dict[str, Any]:
    return {
        "error": short_class(attempt.error_class),
        "message": text(attempt.error_message),
        "traceback": parts(text(attempt.traceback)),
    }


def _is_without_end(row: Attempt | AttemptLog | Job) -> bool:
    return isinstance(row, AttemptLog) and row.ended_at is None


def _between(
    start: datetime.datetime | None, end: datetime.datetime | None
) -> datetime.timedelta | None:
    return end - start if start and end else None
