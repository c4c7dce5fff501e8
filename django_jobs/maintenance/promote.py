"""Promotes jobs whose time has come: SCHEDULED and RETRY become PENDING."""

from __future__ import annotations

from uuid import UUID

from django.db import connections, transaction

from .. import transitions
from ..db import clock
from ..enqueue.notify import announce
from ..models import Job
from ..models.job import JobQuerySet
from ..status import TIMED

BATCH = 1_000
_LOCKED_SECONDS = 0.25


def run_once(using: str, *, longest_pause: float = 10.0) -> float:
    """Promote due jobs; return the seconds until the next one is due, at most *longest_pause*."""
    wait = _seconds_until_next(using)
    if wait > 0:
        return min(longest_pause, wait)
    promoted = _promote(using)
    if promoted == BATCH:
        return 0.0
    # Due jobs that were not promoted are locked by another transaction.
    least = 0.0 if promoted else _LOCKED_SECONDS
    return min(longest_pause, max(least, _seconds_until_next(using)))


def run_all(using: str) -> bool:
    """Promote all due jobs; return False if another transaction has locked some of them."""
    while _seconds_until_next(using) <= 0:
        if not _promote(using):
            return False
    return True


def _promote(using: str) -> int:
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    found: list[tuple[UUID, str]] = []
    with transaction.atomic(using):
        for timed in _timed(using):
            due = timed.filter(run_at__lte=clock(using)).order_by("run_at")
            due = due.select_for_update(skip_locked=skip_locked)
            found += due.values_list("id", "queue")[: BATCH - len(found)]
        if found:
            rows = Job.objects.using(using).filter(id__in=[job_id for job_id, _queue in found])
            transitions.promote(rows, clock(using))
            announce(using, {queue for _id, queue in found})
    return len(found)


def _seconds_until_next(using: str) -> float:
    """Return the seconds until the next job is due; negative if it is overdue."""
    nearest = float("inf")
    for timed in _timed(using):
        # No call writes a job without a time. It waits until an operator runs it.
        timed = timed.filter(run_at__isnull=False).order_by("run_at")
        for run_at, now in timed.values_list("run_at", clock(using))[:1]:
            nearest = min(nearest, float((run_at - now).total_seconds()))
    return nearest


def _timed(using: str) -> list[JobQuerySet]:
    """Return the jobs that wait for their time, as sets that an index sorts by time."""
    jobs = Job.objects.using(using)
    if connections[using].features.supports_partial_indexes:
        return [jobs.timed()]
    # Their index is (status, run_at): over two statuses MariaDB would sort all of them.
    return [jobs.filter(status=status) for status in sorted(TIMED)]
