"""Permits under concurrency limits. Locking the limit's row serializes taking and freeing them.

A permit counts only while the row of its job is STARTED with the permit's number of claims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from .. import transitions
from ..db import clock
from ..db.chunks import chunks
from ..enqueue.notify import announce
from ..locking import need
from ..models import Job, LimitLock, Permit, Queue
from ..status import Status
from ..values import Claimed

# With more keys than this, one query first finds those that some job waits for.
_FEW_KEYS = 3


def taken(keys: Collection[str], using: str) -> Counter[str]:
    """Return how many permits of each key are taken; delete permits that do not count.

    The limits of *keys* are locked.
    """
    permits = Permit.objects.using(using)
    rows = list(permits.filter(key__in=keys).values_list("id", "key", "job_id", "claims"))
    running_claims: set[tuple[UUID, int]] = set()
    for chunk in chunks(list({job_id for _id, _key, job_id, _claims in rows})):
        running = Job.objects.using(using).filter(id__in=chunk, status=Status.STARTED)
        running_claims.update(running.values_list("id", "claims"))
    for stale in chunks([row[0] for row in rows if row[2:] not in running_claims]):
        permits.filter(id__in=stale)._raw_delete(using)
    return Counter(key for _id, key, *claim in rows if tuple(claim) in running_claims)


def take(jobs: Sequence[Claimed], using: str) -> None:
    """Give *jobs* the permits under the keys in ``permits``, whose limits are locked."""
    permits = Permit.objects.using(using)
    # An earlier claim may have left permits, if its worker was lost.
    permits.filter(job_id__in=[job.id for job in jobs])._raw_delete(using)
    permits.bulk_create(
        Permit(key=key, job_id=job.id, claims=job.claims) for job in jobs for key in job.permits
    )


def free(ids: Iterable[UUID], using: str) -> set[str]:
    """Free the permits of jobs that no longer run, and wake the next jobs in line.

    The limits of the permits are locked. Returns the queues of the woken jobs; their workers are
    notified.
    """
    freed: Counter[str] = Counter()
    for chunk in chunks(list(ids)):
        permits = Permit.objects.using(using).filter(job_id__in=chunk)
        found = list(permits.values_list("key", flat=True))
        if found:
            need(using, limits=found)
            permits._raw_delete(using)
            freed.update(found)
    return wake(freed, using)


def recall(jobs: Sequence[Claimed], using: str) -> None:
    """Set ``permits`` of *jobs* that were read from their rows."""
    by_id = {job.id: job for job in jobs}
    rows = Permit.objects.using(using).filter(job_id__in=list(by_id))
    for key, job_id, claims in rows.values_list("key", "job_id", "claims"):
        if by_id[job_id].claims == claims:
            by_id[job_id].permits += (key,)


def keys_of(ids: Iterable[UUID], using: str) -> set[str]:
    """Return the keys of the permits that jobs hold."""
    held: set[str] = set()
    for chunk in chunks(list(ids)):
        permits = Permit.objects.using(using).filter(job_id__in=chunk)
        held.update(permits.values_list("key", flat=True))
    return held


def wake(numbers: Mapping[str, int], using: str) -> set[str]:
    """Make the next jobs that wait for each key PENDING; *numbers* says how many of each key.

    The limits of the keys are locked.
    """
    wanted = {key: number for key, number in numbers.items() if number > 0}
    if len(wanted) > _FEW_KEYS:
        wanted = {key: wanted[key] for key in _waited_for(list(wanted), using)}
    waiting = Job.objects.using(using).filter(status=Status.WAITING)
    return _make_pending(waiting, wanted, using)


def fill(numbers: Mapping[str, int], using: str) -> None:
    """Make the first jobs in line for each key PENDING; *numbers* says how many permits are free.

    The limits of the keys are locked. Jobs that were woken before and have not taken their permit
    yet count as in line. Jobs of paused queues do not.
    """
    wanted = {key: number for key, number in numbers.items() if number > 0}
    _make_pending(Job.objects.using(using).live(), wanted, using)


def _make_pending(jobs: QuerySet[Job], numbers: Mapping[str, int], using: str) -> set[str]:
    # Skip paused queues: an unclaimable job would hold the permit. maintenance.unblock wakes it
    # after the queue is resumed. With EXISTS, PostgreSQL would sort the whole line.
    paused = Queue.objects.using(using).filter(paused_at__isnull=False)
    jobs = jobs.exclude(queue__in=paused.values("name"))
    waiting = Job.objects.using(using).filter(status=Status.WAITING).order_by("id")
    while first := _first_in_line(jobs, numbers):
        # Do not skip locked rows. MariaDB locks a row for a moment when another statement only
        # reads it, and a job that is skipped then would never be woken.
        locked: dict[UUID, tuple[str | None, str]] = {}
        for chunk in chunks(sorted(first)):
            rows = waiting.filter(id__in=chunk).select_for_update()
            locked |= {row[0]: row[1:] for row in rows.values_list("id", "waiting_for", "queue")}
        if {job_id: key for job_id, (key, _queue) in locked.items()} == first:
            break
        # A job left the line before it was locked, so the first jobs are others now.
    else:
        return set()
    for chunk in chunks(list(first)):
        transitions.wake(Job.objects.using(using).filter(id__in=chunk), clock(using))
    queues = {queue for _key, queue in locked.values()}
    announce(using, queues)
    return queues


def _first_in_line(jobs: QuerySet[Job], numbers: Mapping[str, int]) -> dict[UUID, str]:
    """Return the WAITING jobs among the first *numbers* in line for each key, with the key."""
    found: dict[UUID, str] = {}
    for key in sorted(numbers):
        line = jobs.filter(waiting_for=key).order_by("rank", "id")
        rows = line.values_list("id", "status")[: numbers[key]]
        found.update((row[0], key) for row in rows if row[1] == Status.WAITING)
    return found


def _waited_for(keys: Collection[str], using: str) -> list[str]:
    """Return the *keys* that some job waits for."""
    line = Job.objects.using(using).filter(waiting_for=OuterRef("key"), status=Status.WAITING)
    locks = LimitLock.objects.using(using).filter(Exists(line), key__in=keys)
    return list(locks.values_list("key", flat=True))
