"""Jobs whose time has come: SCHEDULED and RETRY become PENDING."""

from __future__ import annotations

from django.db import connections, transaction

from ..dialects import clock
from ..enqueue import announce
from ..models import Job
from ..status import TIMED, Status

BATCH = 1_000


def run_once(using: str, *, longest_pause: float = 10.0, grace: float = 0.0) -> float:
    """Promote what is due; return the seconds until the next job is, at most *longest_pause*.

    *grace* leaves jobs that are due for less than so many seconds to another process: only the
    first worker of a host has none, and the others step in when it is stuck.
    """
    wait = _seconds_until_next(using) + grace
    if wait > 0:
        return min(longest_pause, wait)
    if _promote(using, grace) == BATCH:
        return 0.0
    return min(longest_pause, _seconds_until_next(using) + grace)


def _promote(using: str, grace: float) -> int:
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using):
        due = Job.objects.using(using).due(grace).order_by("run_at")
        due = due.select_for_update(skip_locked=skip_locked)
        found = list(due.values_list("id", "queue")[:BATCH])
        if found:
            Job.objects.using(using).filter(
                id__in=[job_id for job_id, _queue in found], status__in=TIMED
            ).update(status=Status.PENDING, ready_at=clock(using))
            announce(using, {queue for _id, queue in found})
    return len(found)


def _seconds_until_next(using: str) -> float:
    times = Job.objects.using(using).timed().order_by("run_at").values_list("run_at", clock(using))
    for run_at, now in times[:1]:
        return max(0.0, float((run_at - now).total_seconds()))
    return float("inf")
