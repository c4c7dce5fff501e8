"""The attempts of one job, for its page."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..display.job_text import short_class
from ..display.times import duration
from ..models import Attempt, Job, Worker
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


def kept_attempts(job: Job) -> list[Attempt]:
    """Return the rows of the newest attempts that did not succeed, the newest first."""
    rows = Attempt.objects.using(job._state.db).filter(job_id=job.pk)
    return list(rows.defer("error_args").order_by("-id")[:MOST_ATTEMPTS])


def attempts_of(
    job: Job, kept: Sequence[Attempt], text: Callable[[str], str]
) -> list[ShownAttempt]:
    """Return the attempts to show, the newest first.

    *kept* holds the attempts that did not succeed; a running or successful one is taken from the
    job's own row. *text* hides the job's secrets in messages and tracebacks.
    """
    ids = {attempt.worker_id for attempt in kept} | {job.worker_id}
    names = _worker_names(ids, str(job._state.db))
    shown = [_shown(attempt, names, **_error(attempt, text)) for attempt in kept]
    if job.status in (Status.STARTED, Status.SUCCESS):
        shown.insert(0, _shown(job, names))
    return shown


def worker_name(worker_id: UUID | None, using: str) -> str:
    return _worker_names({worker_id}, using)[worker_id]


def _worker_names(ids: set[UUID | None], using: str) -> dict[UUID | None, str]:
    rows = Worker.objects.using(using).filter(pk__in=[key for key in ids if key])
    names: dict[UUID | None, str] = dict(rows.values_list("pk", "name"))
    # The row of a worker is pruned long before the row of a failed job.
    return {key: names.get(key, _("%s (gone)") % key if key else "–") for key in ids}


def _shown(row: Attempt | Job, names: dict[UUID | None, str], **error: Any) -> ShownAttempt:
    return ShownAttempt(
        key=row.claims,
        number=row.attempt,
        status=status_badge(row.status),
        worker=names[row.worker_id],
        started=moment(row.started_at, precise=True),
        ended=moment(row.ended_at, precise=True),
        took=duration(_between(row.started_at, row.ended_at)),
        **error,
    )


def _error(attempt: Attempt, text: Callable[[str], str]) -> dict[str, Any]:
    return {
        "error": short_class(attempt.error_class),
        "message": text(attempt.error_message),
        "traceback": parts(text(attempt.traceback)),
    }


def _between(
    start: datetime.datetime | None, end: datetime.datetime | None
) -> datetime.timedelta | None:
    return end - start if start and end else None
