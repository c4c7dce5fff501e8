"""The one order in which the engine locks rows.

Each transaction takes its locks in this order, so no two of them wait for each other in a circle:

1. the rows of schedules, by id;
2. the rows of limits (:class:`~django_jobs.models.LimitLock`), by key; the holder of one may write
   the permits and the reservations of its key;
3. unique keys, by key;
4. the row of a worker that is cleaned up after;
5. jobs that run (STARTED), by id;
6. other jobs, by id;
7. jobs in line for a limit (``waiting_for`` is set), by id.

A statement that skips locked rows never waits, so it may come at any point in this order. The locks
that it takes count for the statements after it. A claim locks ready jobs that way, and last takes a
shared lock on the row of its worker. MariaDB may wait for that lock, because a clean-up locks the
row. This is no circle, because the clean-up waits for no ready job. The engine waits for no other
locks.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Q

from .db import dialect_for
from .db.chunks import chunks
from .models import Job, LimitLock
from .status import Status

T = TypeVar("T")

_NOBODY = UUID(int=0)
_HELD = "_django_jobs_held"

_RUNNING = Q(status=Status.STARTED)
_IN_LINE = Q(waiting_for__isnull=False)
#: The parts of the jobs, in the order in which they are locked.
_PARTS = (_RUNNING, ~_RUNNING & ~_IN_LINE, ~_RUNNING & _IN_LINE)


@dataclasses.dataclass(slots=True)
class Held:
    """The keys of the limits, and the unique keys, that a transaction has locked or needs."""

    limits: set[str] = dataclasses.field(default_factory=set)
    keys: set[str] = dataclasses.field(default_factory=set)


class LocksNeeded(BaseException):
    """A transaction that may have locked jobs needs locks that come before those of jobs.

    It is no error: :func:`in_order` repeats the transaction, with these locks first.
    """

    def __init__(self, held: Held) -> None:
        super().__init__("the transaction is repeated, with these locks first")
        self.held = held


def in_order(
    using: str, action: Callable[[], T], *, limits: Collection[str] = (), keys: Collection[str] = ()
) -> T:
    """Do *action* in a transaction that first locks *limits* and then unique *keys*.

    *action* may lock jobs. It is repeated when it needs other limits or keys than these.
    """
    state = connections[using].__dict__
    if state.get(_HELD) is not None:
        need(using, limits=limits, keys=keys)
        with transaction.atomic(using):
            return action()
    needed = Held(set(limits), set(keys))
    while True:
        try:
            with limits_locked(needed.limits, using):
                lock_keys(needed.keys, using)
                state[_HELD] = needed
                return action()
        except LocksNeeded as missing:
            needed = Held(needed.limits | missing.held.limits, needed.keys | missing.held.keys)
        finally:
            state[_HELD] = None


@contextlib.contextmanager
def limits_locked(keys: Collection[str], using: str) -> Iterator[None]:
    """Hold the limits of *keys*, in one transaction."""
    locks = LimitLock.objects.using(using)
    while True:
        with transaction.atomic(using):
            missing = set(keys)
            for chunk in chunks(sorted(keys)):
                rows = locks.filter(key__in=chunk).order_by("key").select_for_update()
                missing -= set(rows.values_list("key", flat=True))
            if not missing:
                _share(sorted(keys), using)
                yield
                return
        # Outside of the locks, because a new row among locked ones would break the order.
        locks.bulk_create([LimitLock(key=key) for key in sorted(missing)], ignore_conflicts=True)


def _share(limits: Sequence[str], using: str) -> None:
    if limits:
        connection = connections[using]
        with connection.cursor() as cursor:
            dialect_for(connection).share_limit_locks(cursor, limits)


def lock_keys(keys: Collection[str], using: str) -> None:
    """Lock unique *keys* until the end of the transaction."""
    if not keys:
        return
    connection = connections[using]
    with connection.cursor() as cursor:
        for key in sorted(keys):
            # Without a row there is nothing to lock. A key that no job holds is free to take.
            dialect_for(connection).hold_key(cursor, key, _NOBODY, "NULL")


def need(using: str, *, limits: Collection[str] = (), keys: Collection[str] = ()) -> None:
    """Raise :class:`LocksNeeded` inside :func:`in_order` where these are not locked."""
    held: Held | None = connections[using].__dict__.get(_HELD)
    if held is not None:
        missing = Held(set(limits) - held.limits, set(keys) - held.keys)
        if missing.limits or missing.keys:
            raise LocksNeeded(missing)


def lock_jobs(ids: Iterable[UUID], using: str, *, statuses: Collection[str] = ()) -> list[Job]:
    """Lock the jobs with these *ids*, and *statuses* if they are given; return them by id."""
    left = set(ids)
    rows = Job.objects.using(using).order_by("id").select_for_update()
    rows = rows.defer("args", "kwargs", "headers", "result", "progress")
    if statuses:
        rows = rows.filter(status__in=statuses)
    found: list[Job] = []
    # The last query is for jobs that moved from one part to another meanwhile.
    several = len(left) > 1 and connections[using].features.has_select_for_update
    for part in (*_PARTS, Q()) if several else (Q(),):
        for chunk in chunks(sorted(left)):
            found += rows.filter(part, id__in=chunk)
        left.difference_update(job.pk for job in found)
    return sorted(found, key=lambda job: job.pk)
