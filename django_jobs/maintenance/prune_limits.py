"""Deletes rows of limits that no job uses, and starts that no window reaches."""

from __future__ import annotations

from typing import Any

from django.db import connections, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from ..db import unix_time
from ..define.rates import LONGEST_SECONDS
from ..models import Job, LimitLock, Permit, Reservation
from ..status import Status

#: One run looks at most at this many rows of limits; the next run continues after them.
BATCH = 1_000

_last: dict[str, str] = {}


def run_once(using: str) -> int:
    """Look at one batch of limits, by their keys; return how many were deleted."""
    locks = LimitLock.objects.using(using)
    batch = locks.filter(key__gt=_last.get(using, "")).order_by("key")
    keys = list(batch.values_list("key", flat=True)[:BATCH])
    _last[using] = keys[-1] if len(keys) == BATCH else ""
    if not keys:
        return 0
    # Also unused slots: their jobs are gone, or wait in line again.
    before = unix_time(using) - LONGEST_SECONDS
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    starts, permits = Reservation.objects.using(using), Permit.objects.using(using)
    with transaction.atomic(using):
        old = starts.filter(key__in=keys, at__lt=before).select_for_update(skip_locked=skip_locked)
        starts.filter(id__in=list(old.values_list("id", flat=True)[:BATCH]))._raw_delete(using)
    unused = list(_unused(keys, using).values_list("key", flat=True))
    if not unused:
        return 0
    with transaction.atomic(using):
        mine = locks.filter(key__in=unused).order_by("key")
        held = list(mine.select_for_update(skip_locked=skip_locked).values_list("key", flat=True))
        # A job may have come between the query and the lock.
        still = list(_unused(held, using).values_list("key", flat=True))
        for rows in (starts, permits, locks):
            rows.filter(key__in=still)._raw_delete(using)
    return len(still)


def _unused(keys: list[str], using: str) -> QuerySet[LimitLock]:
    """Return the limits of *keys* under which no job runs, started, may start or waits."""
    jobs, permits = Job.objects.using(using), Permit.objects.using(using)
    this: Any = {"id": OuterRef("job_id")}
    running = jobs.filter(**this, status=Status.STARTED, claims=OuterRef("claims"))
    starts = Reservation.objects.using(using).filter(Q(started=True) | Exists(jobs.filter(**this)))
    locks = LimitLock.objects.using(using).filter(key__in=keys)
    for rows in (permits.filter(Exists(running)), starts):
        locks = locks.filter(~Exists(rows.filter(key=OuterRef("key"))))
    return locks.filter(~Exists(jobs.filter(waiting_for=OuterRef("key"))))
