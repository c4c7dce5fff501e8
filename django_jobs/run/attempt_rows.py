"""The rows of attempts that did not succeed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ..db import clock
from ..models import Attempt
from ..serialization import loads
from ..status import Status
from ..values import Outcome

# With the longest tracebacks, this many rows fit into one statement of MariaDB.
_ATTEMPTS = 100
#: A job keeps this many attempts, the newest ones, so an endless retry cannot fill the table.
KEPT_ATTEMPTS = 100
# One recorded attempt deletes at most this many older ones.
_OLDER = 1_000


def was_attempt(outcome: Outcome) -> bool:
    """Return whether the attempt failed and gets a row; a job that did not run made no attempt."""
    did_not_run = outcome.status == Status.REVOKED or outcome.is_deferred
    return outcome.failure is not None and not did_not_run


def keep_attempts(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> None:
    ages = {id(outcome): outcome.ages() for outcome in outcomes}
    Attempt.objects.using(using).bulk_create(
        (
            Attempt(
                job_id=outcome.job.id,
                attempt=outcome.job.retries + 1,
                claims=outcome.job.claims,
                status=outcome.status,
                worker_id=worker_id,
                started_at=clock(using, -ages[id(outcome)][0]),
                ended_at=clock(using, -ages[id(outcome)][1]),
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


def forget_attempts(job_id: UUID, using: str) -> None:
    attempts = Attempt.objects.using(using)
    ids = attempts.filter(job_id=job_id).order_by("-id").values_list("id", flat=True)
    if older := list(ids[KEPT_ATTEMPTS : KEPT_ATTEMPTS + _OLDER]):
        attempts.filter(id__in=older)._raw_delete(using)
