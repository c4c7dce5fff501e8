"""Deletes ended jobs whose retention is over, in batches that last some milliseconds each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from ..control.commands import answer_for_gone
from ..db import clock, dialect_for
from ..db.pruning import Pruned
from ..models import Command, Lease, Worker
from . import events, prune_limits, prune_unique_keys

#: Jobs in the first batch, which is the smallest, and in the biggest one.
BATCH, MOST = 2_000, 10_000
# How long the lease lasts, and when a batch renews it, in seconds. Each renewal is a commit.
_LEASE, _RENEW = 120.0, 30.0
# A batch grows at most by this factor.
_FACTOR = 2.0
# How long a batch should take, in seconds. A commit of another transaction also waits until the log
# of a batch is on the disk, and SQLite has one writer at a time.
_SECONDS = 0.02
# The rest after a batch, as a multiple of its time, and the longest one in seconds.
_REST, _LONGEST_REST = 2.0, 0.1
# How long the rows of workers and commands are kept after their end.
KEEP_SECONDS = 86_400.0


class Pruner:
    """Deletes in batches that take 20 ms if they can, and rests twice as long as each took.

    So locks are held for a short time, and other writers have most of the time for themselves. No
    batch is smaller than :data:`BATCH`: its statements and its commit cost the same for few jobs,
    and a busy database, where they take long, would fall behind. *clock* returns seconds, as
    :func:`time.monotonic` does.
    """

    def __init__(
        self, using: str, holder: UUID, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._using = using
        self._holder = holder
        self._clock = clock
        #: How many jobs the next batch takes.
        self.batch = BATCH
        # Of the last batch. Before it the index has what was deleted or must stay, and the next
        # batch would read all of that again.
        self._place: Any = None
        self._held_at = -math.inf

    def run_once(self) -> float | None:
        """Delete one batch; return the seconds to rest before the next one, None after the last.

        Only one process of the cluster does it at a time.
        """
        began, wanted = self._clock(), self.batch
        if began - self._held_at >= _RENEW:
            if not hold_lease("prune", self._holder, _LEASE, self._using):
                self._begin_anew()
                return None
            self._held_at = began
        pruned = _prune_jobs(self._using, wanted, self._place)
        if pruned.number < wanted:
            _prune_around(self._using)
            self._begin_anew()
            return None
        self._place = pruned.place
        took = self._clock() - began
        self.batch = self._fitting(wanted, took)
        return min(_REST * took, _LONGEST_REST)

    def _begin_anew(self) -> None:
        """Let the next batch take the lease, and the oldest jobs."""
        self._place, self._held_at = None, -math.inf

    @staticmethod
    def _fitting(batch: int, seconds: float) -> int:
        """Return how many jobs a batch may have, after one of *batch* jobs took *seconds*."""
        fitting = batch * min(_FACTOR, _SECONDS / max(seconds, 1e-6))
        return min(MOST, max(BATCH, int(fitting)))


def run_once(using: str, holder: UUID, *, lease_seconds: float = _LEASE) -> int:
    """Delete up to one batch of ended jobs and all that is theirs; return how many jobs.

    Only one process of the cluster does it at a time; the others return 0.
    """
    if not hold_lease("prune", holder, lease_seconds, using):
        return 0
    pruned = _prune_jobs(using, BATCH, None)
    if pruned.number < BATCH:
        _prune_around(using)
    return pruned.number


def hold_lease(name: str, holder: UUID, seconds: float, using: str) -> bool:
    """Take or renew the lease of a chore, by the database's clock; return whether we have it."""
    leases = Lease.objects.using(using)
    if leases.filter(name=name, holder=holder).update(until=clock(using, seconds)):
        return True
    leases.bulk_create([Lease(name=name, holder=None, until=clock(using))], ignore_conflicts=True)
    free = leases.filter(name=name, until__lte=clock(using))
    return bool(free.update(holder=holder, until=clock(using, seconds)))


def _prune_jobs(using: str, most: int, place: Any) -> Pruned:
    """Delete up to *most* jobs whose time was over at *place* or later, in the order of time."""
    connection = connections[using]
    with transaction.atomic(using), connection.cursor() as cursor:
        pruned = dialect_for(connection).prune(cursor, most, place)
    # After the transaction: an enqueue locks a key first and a job after it.
    keys, ids = [key for key, _id in pruned.unique], [job_id for _key, job_id in pruned.unique]
    prune_unique_keys.forget(keys, ids, using)
    return pruned


def _prune_around(using: str) -> None:
    before = clock(using, -KEEP_SECONDS)
    workers = Worker.objects.using(using)
    workers.filter(stopped_at__lt=before)._raw_delete(using)
    workers.filter(lost_at__lt=before)._raw_delete(using)
    answer_for_gone(using)
    Command.objects.using(using).filter(created_at__lt=before)._raw_delete(using)
    events.prune(using)
    prune_limits.run_once(using)
    prune_unique_keys.run_once(using)
