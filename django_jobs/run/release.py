"""Gives back claimed jobs that did not begin."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from .. import transitions
from ..db import without_deadlock
from ..db.chunks import chunks
from ..enqueue.notify import announce
from ..limits import concurrency, rate_windows
from ..locking import in_order, lock_jobs
from ..models import Job
from ..status import Status
from ..values import Claimed, Outcome
from .record import record


def release(worker_id: UUID, jobs: Sequence[Claimed], using: str) -> None:
    """Make claimed jobs that did not run PENDING again; no retry is counted."""
    given_back = [Outcome.of(job, Status.PENDING) for job in jobs]
    if given_back:
        rated = {(job.id, job.claims) for job in jobs if job.begin_by is not None}
        record(worker_id, given_back, using, unstarted=rated)


def release_strays(worker_id: UUID, held: Collection[tuple[UUID, int]], using: str) -> int:
    """Give back jobs that belong to this worker by their rows only; return how many.

    A claim leaves such rows if it was committed and its answer was lost with the connection. *held*
    has the id and the number of claims of each job that the worker knows of.
    """
    strays = owned(worker_id, using).difference(held)
    return without_deadlock(using, lambda: _release_strays(worker_id, strays, using))


def owned(worker_id: UUID, using: str) -> set[tuple[UUID, int]]:
    """Return the id and the number of claims of each job that is this worker's by its row."""
    ours = Job.objects.using(using).filter(status=Status.STARTED, worker_id=worker_id)
    return set(ours.values_list("id", "claims"))


def _release_strays(worker_id: UUID, strays: Collection[tuple[UUID, int]], using: str) -> int:
    if not strays:
        return 0
    ids = [job_id for job_id, _claims in strays]
    limits = concurrency.keys_of(ids, using) | rate_windows.keys_of(ids, using)
    return in_order(using, lambda: _give_back(worker_id, strays, using), limits=limits)


def _give_back(worker_id: UUID, strays: Collection[tuple[UUID, int]], using: str) -> int:
    locked = lock_jobs([job_id for job_id, _claims in strays], using, statuses=[Status.STARTED])
    # The statement may arrive late, after the worker has claimed a job once more.
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
