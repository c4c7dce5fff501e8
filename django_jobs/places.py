"""Places under concurrency limits: who comes and who goes stands in line at the gate of a key.

A place counts only while its job's row is STARTED with the place's attempt. Whoever takes or frees
one first locks the row of the key's gate, and job rows only then.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from .dialects import clock
from .dialects.base import chunks
from .enqueue import announce
from .models import Gate, Job, Place, Queue
from .status import Status
from .values import Claimed

# More than so many keys are first asked which of them somebody waits for.
_FEW_KEYS = 3


@contextlib.contextmanager
def locked(keys: Collection[str], using: str) -> Iterator[None]:
    """Hold the gates of *keys*, in one transaction."""
    gates = Gate.objects.using(using)
    while True:
        with transaction.atomic(using):
            rows = gates.filter(key__in=keys).order_by("key").select_for_update()
            missing = set(keys) - set(rows.values_list("key", flat=True))
            if not missing:
                yield
                return
        # Outside of the locks: a new row among locked ones would break their order.
        gates.bulk_create([Gate(key=key) for key in sorted(missing)], ignore_conflicts=True)


def taken(keys: Collection[str], using: str) -> Counter[str]:
    """Return how many places of each key are taken, behind its gate; forget those that are not."""
    places = Place.objects.using(using)
    rows = list(places.filter(key__in=keys).values_list("id", "key", "job_id", "attempt"))
    if not rows:
        return Counter()
    running = Job.objects.using(using).filter(
        id__in={job_id for _id, _key, job_id, _attempt in rows}, status=Status.STARTED
    )
    attempts = set(running.values_list("id", "attempt"))
    stale = [row[0] for row in rows if row[2:] not in attempts]
    if stale:
        places.filter(id__in=stale)._raw_delete(using)
    return Counter(key for _id, key, *attempt in rows if tuple(attempt) in attempts)


def take(jobs: Sequence[Claimed], using: str) -> None:
    """Give each of *jobs* the places that it names, behind their gates."""
    places = Place.objects.using(using)
    # An earlier attempt may have left its own, when its worker was lost.
    places.filter(job_id__in=[job.id for job in jobs])._raw_delete(using)
    places.bulk_create(
        Place(key=key, job_id=job.id, attempt=job.attempt) for job in jobs for key in job.places
    )


def free(ids: Iterable[UUID], using: str) -> set[str]:
    """Take back the places of jobs that run no more, behind their gates, and wake those in line.

    Returns the queues of these, which are announced.
    """
    freed: Counter[str] = Counter()
    for chunk in chunks(list(ids)):
        places = Place.objects.using(using).filter(job_id__in=chunk)
        found = list(places.values_list("key", flat=True))
        if found:
            places._raw_delete(using)
            freed.update(found)
    return wake(freed, using)


def recall(jobs: Sequence[Claimed], using: str) -> None:
    """Tell *jobs*, read from their rows, which places they hold."""
    by_id = {job.id: job for job in jobs}
    rows = Place.objects.using(using).filter(job_id__in=list(by_id))
    for key, job_id, attempt in rows.values_list("key", "job_id", "attempt"):
        if by_id[job_id].attempt == attempt:
            by_id[job_id].places += (key,)


def keys_of(ids: Iterable[UUID], using: str) -> set[str]:
    """Return the keys of the places that jobs hold."""
    held: set[str] = set()
    for chunk in chunks(list(ids)):
        places = Place.objects.using(using).filter(job_id__in=chunk)
        held.update(places.values_list("key", flat=True))
    return held


def wake(numbers: Mapping[str, int], using: str) -> set[str]:
    """Make the next *numbers* of jobs that wait for each key pending, behind its gate."""
    wanted = {key: number for key, number in numbers.items() if number > 0}
    if len(wanted) > _FEW_KEYS:
        wanted = {key: wanted[key] for key in _waited_for(list(wanted), using)}
    waiting = Job.objects.using(using).filter(status=Status.WAITING)
    return _make_pending(waiting, wanted, using)


def fill(numbers: Mapping[str, int], using: str) -> None:
    """Make pending who stands among the first *numbers* in line for each key, behind its gate.

    Those who are pending already, and have not taken their place yet, stand there too. Jobs of
    paused queues stand in no line.
    """
    wanted = {key: number for key, number in numbers.items() if number > 0}
    _make_pending(Job.objects.using(using).live(), wanted, using)


def _make_pending(jobs: QuerySet[Job], numbers: Mapping[str, int], using: str) -> set[str]:
    found: dict[UUID, str] = {}
    # Who cannot be claimed would keep the place from those behind; the guard wakes him later. With
    # EXISTS for it PostgreSQL would sort the whole line.
    paused = Queue.objects.using(using).filter(paused_at__isnull=False)
    jobs = jobs.exclude(queue__in=paused.values("name"))
    for key in sorted(numbers):
        line = jobs.filter(waiting_for=key).order_by("rank", "id")
        # Not past locked rows: MariaDB locks for a moment what a statement only looks at, and
        # whoever is passed by then would wait for ever.
        line = line.select_for_update()
        rows = line.values_list("id", "queue", "status")[: numbers[key]]
        found.update((row[0], row[1]) for row in rows if row[2] == Status.WAITING)
    if found:
        waiting = Job.objects.using(using).filter(id__in=list(found), status=Status.WAITING)
        waiting.update(status=Status.PENDING, ready_at=clock(using))
        announce(using, set(found.values()))
    return set(found.values())


def _waited_for(keys: Collection[str], using: str) -> list[str]:
    """Return those of *keys* that some job waits for."""
    line = Job.objects.using(using).filter(waiting_for=OuterRef("key"), status=Status.WAITING)
    gates = Gate.objects.using(using).filter(Exists(line), key__in=keys)
    return list(gates.values_list("key", flat=True))
