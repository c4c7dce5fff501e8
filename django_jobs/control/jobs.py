"""Operations on jobs: revoke, run now."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import connections

from .. import log, signals, transitions
from ..db import clock, dialect_for, without_deadlock
from ..db.chunks import CHUNK, chunks
from ..db.commits import after_commit
from ..define import registry, row_options
from ..define.retention import keep_seconds
from ..define.routing import databases
from ..enqueue.notify import Topic, announce
from ..ids import uuids
from ..limits import concurrency
from ..locking import in_order, lock_jobs, need
from ..metrics import collector
from ..models import Command, EventWait, Job
from ..status import QUEUED, TIMED, Status
from ..steps import operating
from ..workflows.completion import Ended, wake_dependents

#: Is called in a transaction with the jobs that it changes, as to write the admin's log.
Note = Callable[[Sequence[Job]], object]


def nothing(*told: object) -> None:
    pass


def revoke(
    ids: Sequence[UUID | str],
    *,
    terminate: bool = False,
    reason: str = "revoked",
    using: str = "",
    note: Note = nothing,
) -> int:
    """Revoke the jobs that have not begun; return how many were revoked.

    *ids* are UUIDs or their texts; *using* is a database's alias, by default each database that
    holds some of the jobs. With *terminate* it also revokes running jobs: their rows change at
    once, and the worker stops them within a second. A pool that cannot stop a job sets
    ``current_job.revoked``. The dependents in a workflow end as FAILURE ``UpstreamFailed``.

    *note* is called with the revoked jobs in the transaction, again when the transaction is
    repeated. Raises ``ValueError`` for a text that is not a UUID.
    """
    if not using:
        return sum(
            revoke(some, terminate=terminate, reason=reason, using=alias, note=note)
            for alias, some in by_database(ids)
        )
    statuses = (*QUEUED, Status.STARTED) if terminate else QUEUED
    wanted = uuids(ids)
    revoked = without_deadlock(using, lambda: _revoke(wanted, statuses, reason, using, note))
    if signals.job_revoked.receivers:
        for job in revoked:
            # The caller's transaction may roll the revoke back.
            after_commit(
                using,
                signals.send,
                signals.job_revoked,
                job.name,
                about=functools.partial(_attributes, job),
                job_id=job.pk,
                terminated=job.status == Status.STARTED,
                reason=reason,
            )
    return len(revoked)


def revoke_workflow(
    ids: Sequence[UUID | str], *, terminate: bool = False, reason: str = "revoked", using: str = ""
) -> int:
    """Revoke the jobs and all jobs that they depend on; return how many were revoked.

    Ended jobs stay as they are, and without *terminate* running jobs do. The arguments and errors
    are those of :func:`revoke`.
    """
    if not using:
        return sum(
            revoke_workflow(some, terminate=terminate, reason=reason, using=alias)
            for alias, some in by_database(ids)
        )
    connection = connections[using]
    wanted = uuids(ids)
    with connection.cursor() as cursor:
        above = dialect_for(connection).above(cursor, wanted)
    every = sorted({*wanted, *(parent for parent, _child in above)})
    return revoke(every, terminate=terminate, reason=reason, using=using)


def _revoke(
    ids: Sequence[UUID], statuses: Sequence[str], reason: str, using: str, note: Note
) -> list[Job]:
    limits = concurrency.keys_of(ids, using) if Status.STARTED in statuses else set()

    def end() -> list[Job]:
        found = lock_jobs(ids, using, statuses=statuses)
        for name in {job.name for job in found}:
            for chunk in chunks([job.pk for job in found if job.name == name]):
                rows = Job.objects.using(using).filter(id__in=chunk)
                transitions.revoke(rows, reason, clock(using), _prune_at(name, using))
        if waiting := [job.pk for job in found if job.status == Status.WAITING]:
            for chunk in chunks(waiting):
                EventWait.objects.using(using).filter(job_id__in=chunk)._raw_delete(using)
        note(found)
        collector.revoked([(job.queue, job.name, job.claims) for job in found], using)
        started = [job for job in found if job.status == Status.STARTED]
        if started:
            _stop_running(started, using)
        parents = [_ended(job, reason) for job in found if job.has_dependents]
        if parents:
            wake_dependents(parents, using)
        if started:
            # Last, because it locks jobs that wait for a limit.
            concurrency.free([job.pk for job in started], using)
        # A job that was woken and has not begun passes its permit on.
        woken = [job for job in found if job.status == Status.PENDING]
        if left := Counter([job.waiting_for for job in woken if job.waiting_for]):
            need(using, limits=left)
            concurrency.wake(left, using)
        return found

    return in_order(using, end, limits=limits)


def _ended(job: Job, reason: str) -> Ended:
    options = row_options.read(job.options)
    return Ended(
        job.pk, job.name, Status.REVOKED.value, options, True, job.root_id, "", reason,
        queue=job.queue, attempt=job.retries + 1,
    )  # fmt: skip


def _attributes(job: Job) -> dict[str, Any]:
    """Return what a record of the log says of the job."""
    return log.about(job.pk, job.name, queue=job.queue, attempt=job.retries + 1)


def run_now(ids: Sequence[UUID | str], *, using: str = "", note: Note = nothing) -> int:
    """Make jobs pending that wait for their time (SCHEDULED, RETRY); return how many were.

    The arguments and errors are those of :func:`revoke`.
    """
    if not using:
        return sum(run_now(some, using=alias, note=note) for alias, some in by_database(ids))
    action = functools.partial(_run_now, uuids(ids), using, note)
    return without_deadlock(using, lambda: in_order(using, action))


def _run_now(ids: Sequence[UUID], using: str, note: Note) -> int:
    found = lock_jobs(ids, using, statuses=TIMED)
    for chunk in chunks([job.pk for job in found]):
        transitions.run_now(Job.objects.using(using).filter(id__in=chunk), clock(using))
        operating.end_sleeps(chunk, using)
    note(found)
    if found:
        announce(using, {job.queue for job in found})
    return len(found)


def by_database(ids: Sequence[UUID | str]) -> Iterator[tuple[str, list[UUID]]]:
    """Yield the alias of each database that holds some of the jobs, with their ids.

    An id without a row goes to the default database.
    """
    default, *others = databases()
    left = uuids(ids)
    for alias in others:
        found: set[UUID] = set()
        for chunk in chunks(left):
            found.update(Job.objects.using(alias).filter(pk__in=chunk).values_list("pk", flat=True))
        if found:
            yield alias, [job_id for job_id in left if job_id in found]
            left = [job_id for job_id in left if job_id not in found]
    if left:
        yield default, left


def _stop_running(started: Sequence[Job], using: str) -> None:
    rows = [
        Command(
            worker_id=job.worker_id,
            name="terminate",
            arguments={"id": str(job.pk), "claims": job.claims},
            created_at=clock(using),
        )
        for job in started
        if job.worker_id  # a row that was edited by hand may have none
    ]
    Command.objects.using(using).bulk_create(rows, batch_size=CHUNK)
    announce(using, {Topic.COMMANDS})


def _prune_at(name: str, using: str) -> Any:
    seconds = keep_seconds(registry.find(name), Status.REVOKED)
    return None if seconds is None else clock(using, seconds)
