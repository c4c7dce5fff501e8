"""What a worker writes of its jobs: the only place that changes a running job's row."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from .. import log, transitions
from ..db import clock, dialect_for, is_away, without_deadlock
from ..db.base import chunks
from ..enqueue.notify import Topic, announce
from ..limits import concurrency, rate_windows
from ..locking import in_order, lock_jobs
from ..models import Attempt, Job
from ..serialization import loads
from ..status import ENDED, TIMED, Status
from ..values import Claimed, Outcome
from ..workflows.completion import Ended, lock_dependents, settle
from ..workflows.replace import add_members, go_on_as
from .outcome import unrecordable

# So many with the longest tracebacks fit into a statement of MariaDB.
_ATTEMPTS = 100
#: A job keeps so many of its attempts, the newest: one that is retried without end fills no table.
KEPT_ATTEMPTS = 100
# Most older attempts that one end of a job deletes.
_OLDER = 1_000


def record(
    worker_id: UUID,
    outcomes: Sequence[Outcome],
    using: str,
    *,
    on_ready: Callable[[str], object] = lambda queue: None,
) -> list[Outcome]:
    """Write how jobs ended, many with one statement, and return the outcomes that counted.

    An outcome counts only while its row carries this worker's id and the claim's number. When it
    does not, someone else owns the job now (it was revoked, or this worker was taken for dead and
    the job runs elsewhere): the outcome is dropped and logged, and no row changes.

    What depends on the jobs changes in the same transaction; *on_ready* is told of each queue that
    has new pending jobs by it.
    """
    return _recorded(worker_id, outcomes, using, on_ready)


def _recorded(
    worker_id: UUID,
    outcomes: Sequence[Outcome],
    using: str,
    on_ready: Callable[[str], object] = lambda queue: None,
    *,
    unstarted: Collection[tuple[UUID, int]] = (),
) -> list[Outcome]:
    """Record *outcomes*; give *unstarted* claims their places in line under rates back."""
    queues: set[str] = set()
    counted = without_deadlock(
        using, lambda: _record(worker_id, outcomes, using, queues, unstarted)
    )
    if len(counted) != len(outcomes):
        kept = {id(outcome) for outcome in counted}
        for outcome in outcomes:
            if id(outcome) not in kept:
                log.outcome_dropped(outcome, worker_id)
    statuses = {outcome.status for outcome in counted}
    if not statuses.isdisjoint(TIMED):
        announce(using, {Topic.TIMED})
    if Status.PENDING in statuses:
        pending = {outcome.job.queue for outcome in counted if outcome.status == Status.PENDING}
        announce(using, pending)
    for queue in queues:
        on_ready(queue)
    return counted


def record_apart(
    worker_id: UUID,
    outcomes: Sequence[Outcome],
    using: str,
    *,
    on_ready: Callable[[str], object] = lambda queue: None,
) -> list[Outcome]:
    """Record as :func:`record` does, but let no outcome spoil another one.

    A job whose outcome cannot be recorded, for whatever reason, ends as FAILURE with that reason.
    Only an error that says that the database is away is raised.
    """
    if not outcomes:
        return []
    try:
        return _in_savepoint(worker_id, outcomes, using, on_ready)
    except Exception as error:
        if is_away(error):
            raise
        if len(outcomes) == 1:
            failed = unrecordable(outcomes[0], error)
            log.outcome_unrecordable(outcomes[0], failed.failure)
            return _record_refused(worker_id, failed, using, on_ready)
    counted: list[Outcome] = []
    for outcome in outcomes:
        counted += record_apart(worker_id, [outcome], using, on_ready=on_ready)
    return counted


def _record_refused(
    worker_id: UUID, failed: Outcome, using: str, on_ready: Callable[[str], object]
) -> list[Outcome]:
    try:
        return _in_savepoint(worker_id, [failed], using, on_ready)
    except Exception as error:
        if is_away(error):
            raise
        log.outcome_unrecordable(failed, unrecordable(failed, error).failure)
    # What depends on the job makes the trouble, so only the job's own row ends. What waits for it
    # goes on when an operator has the job run again.
    assert failed.failure is not None
    ours = Job.objects.using(using).filter(
        id=failed.job.id, worker_id=worker_id, claims=failed.job.claims
    )
    told = (failed.failure.error_class, failed.failure.message)
    return [failed] if transitions.refuse(ours, *told, clock(using)) else []


def _in_savepoint(
    worker_id: UUID, outcomes: Sequence[Outcome], using: str, on_ready: Callable[[str], object]
) -> list[Outcome]:
    """Record so that a refused statement leaves a transaction of the caller whole."""
    inside = connections[using].in_atomic_block
    with transaction.atomic(using) if inside else contextlib.nullcontext():
        return record(worker_id, outcomes, using, on_ready=on_ready)


def _record(
    worker_id: UUID,
    outcomes: Sequence[Outcome],
    using: str,
    queues: set[str],
    unstarted: Collection[tuple[UUID, int]],
) -> list[Outcome]:
    limits = {key for outcome in outcomes for key in outcome.job.places}
    if unstarted:
        limits |= rate_windows.keys_of([job_id for job_id, _claims in unstarted], using)
    # A row is a transaction by itself; only what changes with it needs BEGIN and COMMIT.
    if not limits and not any(_was_attempt(each) or each.is_followed for each in outcomes):
        with connections[using].cursor() as cursor:
            changed = dialect_for(connections[using]).write_outcomes(cursor, worker_id, outcomes)
        return list(outcomes) if changed == len(outcomes) else _written(worker_id, outcomes, using)

    def write_all() -> list[Outcome]:
        _write(worker_id, outcomes, using, queues, unstarted)
        return list(outcomes)

    def write_ours() -> list[Outcome]:
        if ours := _ours(worker_id, outcomes, using):
            _write(worker_id, ours, using, queues, unstarted)
        return _written(worker_id, outcomes, using)

    try:
        return in_order(using, write_all, limits=limits)
    except _NotAllOurs:
        # A previous try may have committed before the connection broke; the number of rows that
        # changed now does not tell which rows it wrote.
        return in_order(using, write_ours, limits=limits)


class _NotAllOurs(Exception):
    """Fewer rows changed than there were outcomes."""


def _write(
    worker_id: UUID,
    outcomes: Sequence[Outcome],
    using: str,
    queues: set[str],
    unstarted: Collection[tuple[UUID, int]],
) -> None:
    connection = connections[using]
    with connection.cursor() as cursor:
        changed = dialect_for(connection).write_outcomes(cursor, worker_id, outcomes)
    if changed != len(outcomes):
        raise _NotAllOurs
    if unstarted:
        ours = {(outcome.job.id, outcome.job.claims) for outcome in outcomes}
        rate_windows.take_back(ours.intersection(unstarted), using)
    failed = [outcome for outcome in outcomes if _was_attempt(outcome)]
    if failed:
        _keep_attempts(worker_id, failed, using)
        for outcome in failed:
            if outcome.job.claims > KEPT_ATTEMPTS:
                _forget_attempts(outcome.job.id, using)
        _set_expiry(failed, using)
    followed = [outcome for outcome in outcomes if outcome.is_followed]
    if any(outcome.added for outcome in followed):
        lock_dependents([outcome.job.id for outcome in followed], using)
    for outcome in followed:
        if outcome.added and (outcome.replacement or outcome.status == Status.SUCCESS):
            queues |= add_members(outcome, using)
        if outcome.replacement is not None:
            queues |= go_on_as(outcome.job.id, outcome.replacement, using)
    ended = [Ended.of(outcome) for outcome in followed if outcome.status in ENDED]
    if ended:
        queues |= settle(ended, using)
    placed = [outcome.job.id for outcome in outcomes if outcome.job.places]
    if placed:
        queues |= concurrency.free(placed, using)


def _set_expiry(outcomes: Sequence[Outcome], using: str) -> None:
    for outcome in outcomes:
        if outcome.expires is not None:
            moment, within = outcome.expires
            expires_at = moment if within is None else clock(using, within)
            Job.objects.using(using).filter(id=outcome.job.id).update(expires_at=expires_at)


def _ours(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> list[Outcome]:
    """Lock the rows that this worker still has; return their outcomes."""
    rows = lock_jobs([each.job.id for each in outcomes], using, statuses=[Status.STARTED])
    held = {(row.pk, row.claims) for row in rows if row.worker_id == worker_id}
    return [outcome for outcome in outcomes if (outcome.job.id, outcome.job.claims) in held]


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
        rated = {(job.id, job.claims) for job in jobs if job.begin_by is not None}
        _recorded(worker_id, given_back, using, unstarted=rated)


def release_strays(worker_id: UUID, held: Collection[tuple[UUID, int]], using: str) -> int:
    """Give back what the rows say this worker has and it does not hold; return how many.

    A claim leaves such rows when it was committed and its answer was lost with the connection.
    *held* has the ids and numbers of claims of the jobs that the worker does hold.
    """
    ours = Job.objects.using(using).filter(status=Status.STARTED, worker_id=worker_id)
    strays = {row for row in ours.values_list("id", "claims") if row not in held}
    return without_deadlock(using, lambda: _release_strays(worker_id, strays, using))


def _release_strays(worker_id: UUID, strays: Collection[tuple[UUID, int]], using: str) -> int:
    if not strays:
        return 0
    ids = [job_id for job_id, _claims in strays]
    limits = concurrency.keys_of(ids, using) | rate_windows.keys_of(ids, using)
    return in_order(using, lambda: _give_back(worker_id, strays, using), limits=limits)


def _give_back(worker_id: UUID, strays: Collection[tuple[UUID, int]], using: str) -> int:
    locked = lock_jobs([job_id for job_id, _claims in strays], using, statuses=[Status.STARTED])
    # This may arrive late itself, when the worker has claimed a job once more.
    found = {
        job.pk: job
        for job in locked
        if job.worker_id == worker_id and (job.pk, job.claims) in strays
    }
    for chunk in chunks(list(found)):
        transitions.release(Job.objects.using(using).filter(id__in=chunk))
    rate_windows.take_back({(job.pk, job.claims) for job in found.values()}, using)
    concurrency.free(found, using)
    announce(using, {job.queue for job in found.values()})
    return len(found)


def save_progress(
    worker_id: UUID, shown: Mapping[tuple[UUID, int], dict[str, Any]], using: str
) -> None:
    """Write what running jobs, by (id, claims), show of their progress."""
    for (job_id, claims), progress in shown.items():
        Job.objects.using(using).filter(
            id=job_id, status=Status.STARTED, worker_id=worker_id, claims=claims
        ).update(progress=progress)


def _written(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> list[Outcome]:
    """Return the outcomes that the rows tell of; asked only when fewer rows changed than given.

    A row that tells of one from an earlier try counts: that try was committed and its answer lost.
    """
    rows = Job.objects.using(using).filter(
        id__in=[outcome.job.id for outcome in outcomes], worker_id=worker_id
    )
    told = {row[:3] for row in rows.values_list("id", "claims", "status")}
    return [
        outcome
        for outcome in outcomes
        if (outcome.job.id, outcome.job.claims, str(outcome.status)) in told
    ]


def _was_attempt(outcome: Outcome) -> bool:
    """Tell whether a failed attempt is to be kept; a job that did not run made none."""
    did_not_run = outcome.status == Status.REVOKED or outcome.is_deferred
    return outcome.failure is not None and not did_not_run


def _keep_attempts(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> None:
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


def _forget_attempts(job_id: UUID, using: str) -> None:
    attempts = Attempt.objects.using(using)
    ids = attempts.filter(job_id=job_id).order_by("-id").values_list("id", flat=True)
    if older := list(ids[KEPT_ATTEMPTS : KEPT_ATTEMPTS + _OLDER]):
        attempts.filter(id__in=older)._raw_delete(using)
