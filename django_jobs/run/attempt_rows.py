"""The rows of attempts that did not succeed, and of what attempts have logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ..db import clock
from ..models import Attempt, AttemptLog
from ..serialization import loads
from ..status import Status
from ..values import Outcome

# With the longest tracebacks, and with the longest logs, so many rows fit into one statement of
# MariaDB.
_ATTEMPTS, _LOGS = 100, 50
#: A job keeps this many attempts, the newest ones, so an endless retry cannot fill the table.
KEPT_ATTEMPTS = 100
#: A job keeps the logs of this many attempts, the newest ones.
KEPT_LOGS = 20
# One recorded attempt deletes at most this many older ones.
_OLDER = 1_000


def was_attempt(outcome: Outcome) -> bool:
    """Return whether the attempt failed and gets a row; a job that did not run made no attempt."""
    if outcome.failure is None:
        return False
    return outcome.status != Status.REVOKED and not outcome.is_deferred


def keep_attempts(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> None:
    """Write the attempts, and delete old ones of jobs that have too many."""
    Attempt.objects.using(using).bulk_create(
        (
            Attempt(
                **_columns(worker_id, outcome, using),
                error_class=outcome.failure.error_class,
                error_message=outcome.failure.message,
                error_args=None if outcome.failure.args is None else loads(outcome.failure.args),
                traceback=outcome.failure.traceback,
            )
            for outcome in outcomes
            if outcome.failure is not None
        ),
        batch_size=_ATTEMPTS,
    )
    _forget(Attempt.objects.using(using), outcomes, KEPT_ATTEMPTS)


def keep_logs(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> None:
    """Write what the attempts have logged, and delete old logs of jobs that have too many."""
    logs = AttemptLog.objects.using(using)
    for outcome in outcomes:
        # The row of the job is locked, so nothing is saved of the running attempt any more.
        if outcome.log is not None and outcome.log.is_saved():
            logs.filter(job_id=outcome.job.id, claims=outcome.job.claims)._raw_delete(using)
    logs.bulk_create(
        (
            AttemptLog(
                **_columns(worker_id, outcome, using),
                log_lines=outcome.log.lines,
                left_out=outcome.log.left_out,
            )
            for outcome in outcomes
            if outcome.log is not None
        ),
        batch_size=_LOGS,
    )
    _forget(logs, outcomes, KEPT_LOGS)


def _columns(worker_id: UUID, outcome: Outcome, using: str) -> dict[str, Any]:
    began, ended = outcome.ages()
    return {
        "job_id": outcome.job.id,
        "attempt": outcome.job.retries + 1,
        "claims": outcome.job.claims,
        "status": outcome.status,
        "worker_id": worker_id,
        "started_at": clock(using, -began),
        "ended_at": clock(using, -ended),
    }


def _forget(rows: Any, outcomes: Sequence[Outcome], kept: int) -> None:
    for outcome in outcomes:
        if outcome.job.claims > kept:
            ids = rows.filter(job_id=outcome.job.id).order_by("-id").values_list("id", flat=True)
            if older := list(ids[kept : kept + _OLDER]):
                rows.filter(id__in=older)._raw_delete(rows.db)
