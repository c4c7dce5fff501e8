"""Writes the outcomes of jobs that a worker ran, where the fencing token still holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connections

from .. import log
from ..db import clock, dialect_for, without_deadlock
from ..enqueue.notify import Topic, announce
from ..limits import concurrency, rate_windows
from ..locking import in_order, lock_jobs
from ..models import Job
from ..status import ENDED, TIMED, Status
from ..values import Outcome
from ..workflows.completion import Ended, lock_dependents, wake_dependents
from ..workflows.replace import add_members, go_on_as
from .attempt_rows import keep_attempts, keep_logs, was_attempt
from .reassert import reassert


def record(
    worker_id: UUID,
    outcomes: Sequence[Outcome],
    using: str,
    *,
    on_ready: Callable[[str], object] = lambda queue: None,
    unstarted: Collection[tuple[UUID, int]] = (),
) -> list[Outcome]:
    """Write how jobs ended, many with one statement, and return the outcomes that counted.

    An outcome counts only while its row has this worker's id and the number of the claim. Otherwise
    the job was revoked, or another worker has it because this one seemed dead. The outcome is then
    dropped and logged, and no row changes.

    Jobs that depend on these change in the same transaction. *on_ready* is called with the name of
    each queue that has new pending jobs. The jobs of *unstarted*, pairs of an id and a number of
    claims, did not begin, so their starts under rate limits are taken back.
    """
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


def _record(
    worker_id: UUID,
    outcomes: Sequence[Outcome],
    using: str,
    queues: set[str],
    unstarted: Collection[tuple[UUID, int]],
) -> list[Outcome]:
    limits = {key for outcome in outcomes for key in outcome.job.permits}
    if unstarted:
        limits |= rate_windows.keys_of([job_id for job_id, _claims in unstarted], using)
    # One UPDATE is atomic. Only further changes need BEGIN and COMMIT.
    if not limits and not any(map(_needs_more, outcomes)):
        with connections[using].cursor() as cursor:
            changed = dialect_for(connections[using]).write_outcomes(cursor, worker_id, outcomes)
        if changed == len(outcomes):
            return list(outcomes)
        if _reassert(worker_id, outcomes, using):
            return _record(worker_id, outcomes, using, queues, unstarted)
        return _written(worker_id, outcomes, using)

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
        # changed now does not tell which rows it wrote. Or a crash lost claims.
        _reassert(worker_id, outcomes, using)
        return in_order(using, write_ours, limits=limits)


def _needs_more(outcome: Outcome) -> bool:
    """Return whether its record changes more than the row of the job."""
    return outcome.log is not None or was_attempt(outcome) or outcome.is_followed


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
    failed = [outcome for outcome in outcomes if was_attempt(outcome)]
    if failed:
        keep_attempts(worker_id, failed, using)
        _set_expiry(failed, using)
    if logged := [outcome for outcome in outcomes if outcome.log is not None]:
        keep_logs(worker_id, logged, using)
    followed = [outcome for outcome in outcomes if outcome.is_followed]
    if any(outcome.added for outcome in followed):
        lock_dependents([outcome.job.id for outcome in followed], using)
    for outcome in followed:
        if outcome.added and (outcome.replacement or outcome.status == Status.SUCCESS):
            queues |= add_members(outcome, using)
        if outcome.replacement is not None:
            queues |= go_on_as(outcome.job.id, outcome.replacement, using)
        for written in outcome.steps:
            queues |= written.write(outcome, using)
    ended = [Ended.of(outcome) for outcome in followed if outcome.status in ENDED]
    if ended:
        queues |= wake_dependents(ended, using)
    permitted = [outcome.job.id for outcome in outcomes if outcome.job.permits]
    if permitted:
        queues |= concurrency.free(permitted, using)


def _set_expiry(outcomes: Sequence[Outcome], using: str) -> None:
    for outcome in outcomes:
        if outcome.expires is not None:
            moment, within = outcome.expires
            expires_at = moment if within is None else clock(using, within)
            Job.objects.using(using).filter(id=outcome.job.id).update(expires_at=expires_at)


def _reassert(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> int:
    """Repeat claims that a crash of the database lost, so that their outcomes count."""
    return reassert(worker_id, [(each.job.id, each.job.claims) for each in outcomes], using)


def _ours(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> list[Outcome]:
    """Lock the jobs that this worker still owns; return their outcomes."""
    rows = lock_jobs([each.job.id for each in outcomes], using, statuses=[Status.STARTED])
    held = {(row.pk, row.claims) for row in rows if row.worker_id == worker_id}
    return [outcome for outcome in outcomes if (outcome.job.id, outcome.job.claims) in held]


def save_progress(
    worker_id: UUID, shown: Mapping[tuple[UUID, int], dict[str, Any]], using: str
) -> None:
    """Write the progress of running jobs; *shown* has it by id and number of claims."""
    for (job_id, claims), progress in shown.items():
        Job.objects.using(using).filter(
            id=job_id, status=Status.STARTED, worker_id=worker_id, claims=claims
        ).update(progress=progress)


def _written(worker_id: UUID, outcomes: Sequence[Outcome], using: str) -> list[Outcome]:
    """Return the outcomes that the rows have; called only when fewer rows changed than expected.

    A previous try may have written a row: it was committed, and its answer was lost.
    """
    rows = Job.objects.using(using).filter(
        id__in=[outcome.job.id for outcome in outcomes], worker_id=worker_id
    )
    written = {row[:3] for row in rows.values_list("id", "claims", "status")}
    return [
        outcome
        for outcome in outcomes
        if (outcome.job.id, outcome.job.claims, str(outcome.status)) in written
    ]
