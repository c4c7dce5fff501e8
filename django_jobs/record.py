"""What a worker writes of its jobs: the only place that changes a running job's row."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from . import log
from .dialects import clock, dialect_for
from .enqueue import TIMED_TOPIC, announce
from .models import Attempt, Job
from .serialization import loads
from .status import TIMED, Status
from .values import Claimed, Outcome


def record(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> list[Outcome]:
    """Write how jobs ended, as one statement, and return the outcomes that counted.

    An outcome counts only while its row carries this worker's id and the claimed attempt. When it
    does not, someone else owns the job now (it was revoked, or this worker was taken for dead and
    the job runs elsewhere): the outcome is dropped and logged, and no row changes.
    """
    failed = [outcome for outcome in outcomes if _was_attempt(outcome)]
    connection = connections[using]
    # One statement is a transaction by itself; only more of them need BEGIN and COMMIT.
    with transaction.atomic(using) if failed else contextlib.nullcontext():
        with connection.cursor() as cursor:
            changed = dialect_for(connection).write_outcomes(cursor, worker_id, outcomes)
        counted = list(outcomes)
        if changed != len(outcomes):
            counted = _written(worker_id, outcomes, using)
            failed = _without_attempt(counted, using)
        if failed:
            _keep_attempts(worker_id, failed, using)
    if len(counted) != len(outcomes):
        kept = {id(outcome) for outcome in counted}
        for outcome in outcomes:
            if id(outcome) not in kept:
                log.outcome_dropped(outcome, worker_id)
    if any(outcome.status in TIMED for outcome in counted):
        announce(using, {TIMED_TOPIC})
    return counted


def release(worker_id: UUID, jobs: Sequence[Claimed], using: str) -> None:
    """Give claimed jobs back that did not run; no retry is counted."""
    now = time.monotonic()
    given_back = [
        Outcome(
            job,
            Status.PENDING,
            began=now,
            ended=now,
            retries=job.retries,
            crashes=job.crashes,
            deferrals=job.deferrals,
        )
        for job in jobs
    ]
    if given_back:
        counted = record(worker_id, given_back, using)
        announce(using, {outcome.job.queue for outcome in counted})


def release_strays(worker_id: UUID, held: Sequence[UUID], using: str) -> int:
    """Give back what the rows say this worker has and it does not hold; return how many.

    Such rows are left when a claim was committed and its answer lost with the connection.
    """
    strays = Job.objects.using(using).filter(status=Status.STARTED, worker_id=worker_id)
    return strays.exclude(id__in=held).update(status=Status.PENDING, started_at=None)


def save_progress(
    worker_id: UUID, shown: Mapping[tuple[UUID, int], dict[str, Any]], using: str
) -> None:
    """Write what running jobs, by (id, attempt), show of their progress."""
    for (job_id, attempt), progress in shown.items():
        Job.objects.using(using).filter(
            id=job_id, status=Status.STARTED, worker_id=worker_id, attempt=attempt
        ).update(progress=progress)


def _written(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> list[Outcome]:
    """Return the outcomes that the rows tell of; asked only when fewer rows changed than given.

    A row that tells of one from an earlier try counts: that try was committed and its answer lost.
    """
    rows = Job.objects.using(using).filter(
        id__in=[outcome.job.id for outcome in outcomes], worker_id=worker_id
    )
    told = {row[:3] for row in rows.values_list("id", "attempt", "status")}
    return [
        outcome
        for outcome in outcomes
        if (outcome.job.id, outcome.job.attempt, str(outcome.status)) in told
    ]


def _without_attempt(outcomes: Sequence[Outcome], using: str) -> list[Outcome]:
    """Return the failed ones whose attempt's row an earlier try has not written."""
    kept = Attempt.objects.using(using).filter(job_id__in=[o.job.id for o in outcomes])
    written = set(kept.values_list("job_id", "attempt"))
    return [o for o in outcomes if _was_attempt(o) and (o.job.id, o.job.attempt) not in written]


def _was_attempt(outcome: Outcome) -> bool:
    """Tell whether a failed attempt is to be kept; a job that expired made none."""
    return outcome.failure is not None and outcome.status != Status.REVOKED


def _keep_attempts(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> None:
    ages = {id(outcome): outcome.ages() for outcome in outcomes}
    Attempt.objects.using(using).bulk_create(
        Attempt(
            job_id=outcome.job.id,
            attempt=outcome.job.attempt,
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
    )
