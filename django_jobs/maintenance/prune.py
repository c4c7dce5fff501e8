"""Deletes ended jobs whose retention is over, in batches that last some milliseconds each."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from uuid import UUID

from django.db import connections, transaction

from ..control.commands import answer_for_gone
from ..db import clock, dialect_for
from ..models import Attempt, AttemptLog, Command, Edge, Job, Lease, Worker
from ..workflows.graph import is_needed
from . import prune_limits, prune_unique_keys

#: Jobs in the first batch, which is the smallest, and in the biggest one.
BATCH, MOST = 1_000, 10_000
# A batch grows at most by this factor.
_FACTOR = 2.0
# The longest rest between two batches, in seconds.
_LONGEST_REST = 0.1
# How long the rows of workers and commands are kept after their end.
KEEP_SECONDS = 86_400.0


class Pruner:
    """Deletes in batches as long as the database's dialect says, and rests as long as each took.

    So locks are held for a short time, and other writers have half of the time for themselves. No
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
        self._place: datetime.datetime | None = None

    def run_once(self) -> float | None:
        """Delete one batch; return the seconds to rest before the next one, None after the last.

        Only one process of the cluster does it at a time.
        """
        if not hold_lease("prune", self._holder, 120.0, self._using):
            self._place = None
            return None
        began, wanted = self._clock(), self.batch
        deleted, self._place = _prune_jobs(self._using, wanted, self._place)
        if deleted < wanted:
            self._place = None
            _prune_around(self._using)
            return None
        took = self._clock() - began
        self.batch = self._fitting(wanted, took)
        return min(took, _LONGEST_REST)

    def _fitting(self, batch: int, seconds: float) -> int:
        """Return how many jobs a batch may have, after one of *batch* jobs took *seconds*."""
        longest = dialect_for(connections[self._using]).prune_seconds
        fitting = batch * min(_FACTOR, longest / max(seconds, 1e-6))
        return min(MOST, max(BATCH, int(fitting)))


def run_once(using: str, holder: UUID, *, lease_seconds: float = 120.0) -> int:
    """Delete up to one batch of ended jobs and all that is theirs; return how many jobs.

    Only one process of the cluster does it at a time; the others return 0.
    """
    if not hold_lease("prune", holder, lease_seconds, using):
        return 0
    deleted, _place = _prune_jobs(using, BATCH, None)
    if deleted < BATCH:
        _prune_around(using)
    return deleted


def hold_lease(name: str, holder: UUID, seconds: float, using: str) -> bool:
    """Take or renew the lease of a chore, by the database's clock; return whether we have it."""
    leases = Lease.objects.using(using)
    if leases.filter(name=name, holder=holder).update(until=clock(using, seconds)):
        return True
    leases.bulk_create([Lease(name=name, holder=None, until=clock(using))], ignore_conflicts=True)
    free = leases.filter(name=name, until__lte=clock(using))
    return bool(free.update(holder=holder, until=clock(using, seconds)))


def _prune_jobs(
    using: str, most: int, place: datetime.datetime | None
) -> tuple[int, datetime.datetime | None]:
    """Delete up to *most* jobs whose time was over at *place* or later, in the order of time.

    Returns how many, and the place after them.
    """
    connection = connections[using]
    dialect = dialect_for(connection)
    skip_locked = connection.features.has_select_for_update_skip_locked
    with transaction.atomic(using):
        over = Job.objects.using(using).ended().filter(prune_at__lte=clock(using))
        if place is not None:
            over = over.filter(prune_at__gte=place)
        rows = list(
            over.exclude(is_needed(using))
            .order_by("prune_at")
            .select_for_update(skip_locked=skip_locked)
            .values_list("id", "unique_key")[:most]
        )
        if not rows:
            return 0, place
        ids = [job_id for job_id, _key in rows]
        # By itself: a model's times are expressions, and no index has their order.
        place = Job.objects.using(using).values_list("prune_at", flat=True).get(pk=ids[-1])
        # The database has no foreign keys here, and Django's own cascade reads every row first.
        with connection.cursor() as cursor:
            for model, column in (
                (Attempt, "job_id"), (AttemptLog, "job_id"), (Edge, "parent_id"),
                (Edge, "child_id"), (Job, "id"),
            ):  # fmt: skip
                dialect.delete(cursor, model._meta.db_table, column, ids)
    # After the transaction: an enqueue locks a key first and a job after it.
    prune_unique_keys.forget([key for _job_id, key in rows if key], ids, using)
    return len(ids), place


def _prune_around(using: str) -> None:
    before = clock(using, -KEEP_SECONDS)
    workers = Worker.objects.using(using)
    workers.filter(stopped_at__lt=before)._raw_delete(using)
    workers.filter(lost_at__lt=before)._raw_delete(using)
    answer_for_gone(using)
    Command.objects.using(using).filter(created_at__lt=before)._raw_delete(using)
    prune_limits.run_once(using)
    prune_unique_keys.run_once(using)
