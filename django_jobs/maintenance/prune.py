"""Deletes ended jobs whose retention is over, in small batches."""

from __future__ import annotations

from uuid import UUID

from django.db import connections, transaction

from ..control.commands import answer_for_gone
from ..db import clock
from ..models import Attempt, AttemptLog, Command, Edge, Job, Lease, Worker
from ..workflows.graph import is_needed
from . import prune_limits, prune_unique_keys

BATCH = 1_000
# How long the rows of workers and commands are kept after their end.
KEEP_SECONDS = 86_400.0


def run_once(using: str, holder: UUID, *, lease_seconds: float = 120.0) -> int:
    """Delete up to one batch of ended jobs and all that is theirs; return how many jobs.

    Only one process of the cluster does it at a time; the others return 0.
    """
    if not hold_lease("prune", holder, lease_seconds, using):
        return 0
    deleted = _prune_jobs(using)
    if deleted < BATCH:
        _prune_around(using)
    return deleted


def hold_lease(name: str, holder: UUID, seconds: float, using: str) -> bool:
    """Take or renew the lease of a chore, by the database's clock; return whether we have it."""
    leases = Lease.objects.using(using)
    leases.bulk_create([Lease(name=name, holder=None, until=clock(using))], ignore_conflicts=True)
    mine = leases.filter(name=name, holder=holder).update(until=clock(using, seconds))
    if mine:
        return True
    free = leases.filter(name=name, until__lte=clock(using))
    return bool(free.update(holder=holder, until=clock(using, seconds)))


def _prune_jobs(using: str) -> int:
    connection = connections[using]
    skip_locked = connection.features.has_select_for_update_skip_locked
    with transaction.atomic(using):
        over = (
            Job.objects.using(using)
            .ended()
            .filter(prune_at__lte=clock(using))
            .exclude(is_needed(using))
            .order_by("prune_at")
            .select_for_update(skip_locked=skip_locked)
        )
        ended = dict(over.values_list("id", "unique_key")[:BATCH])
        ids = list(ended)
        if not ids:
            return 0
        # The database has no foreign keys here, and Django's own cascade reads every row first.
        Attempt.objects.using(using).filter(job_id__in=ids)._raw_delete(using)
        AttemptLog.objects.using(using).filter(job_id__in=ids)._raw_delete(using)
        for side in ("parent_id__in", "child_id__in"):
            Edge.objects.using(using).filter(**{side: ids})._raw_delete(using)
        Job.objects.using(using).filter(id__in=ids)._raw_delete(using)
    # After the transaction: an enqueue locks a key first and a job after it.
    prune_unique_keys.forget([key for key in ended.values() if key], ids, using)
    return len(ids)


def _prune_around(using: str) -> None:
    before = clock(using, -KEEP_SECONDS)
    workers = Worker.objects.using(using)
    workers.filter(stopped_at__lt=before)._raw_delete(using)
    workers.filter(lost_at__lt=before)._raw_delete(using)
    answer_for_gone(using)
    Command.objects.using(using).filter(created_at__lt=before)._raw_delete(using)
    prune_limits.run_once(using)
    prune_unique_keys.run_once(using)
