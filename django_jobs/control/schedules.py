"""Operations on schedules: enable, disable, run now, skip the next tick.

In each function, *ids* are primary keys, and *using* is a database's alias, by default that of the
``DATABASE`` setting.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from ..conf import get_settings
from ..db import clock
from ..enqueue.insert import write
from ..enqueue.notify import Topic, announce
from ..exceptions import JobsError
from ..models import Schedule
from ..schedules.planning import plan
from ..schedules.rows import row_of
from ..schedules.ticks import stored, tick_after, utc

Source = Schedule.Source


def changed(using: str) -> None:
    """Wake the beats after the current transaction has committed."""
    announce(using, {Topic.SCHEDULES})


def enable(ids: Collection[int], *, using: str = "") -> list[int]:
    """Enable schedules, from their next tick after now; return the ids of those that changed.

    A schedule that is no longer in the code then belongs to the admin.
    """
    using = using or get_settings().database
    with transaction.atomic(using):
        enabled = _switch(ids, using, enabled=True)
        plan(using, enabled)
    return enabled


def disable(ids: Collection[int], *, using: str = "") -> list[int]:
    """Disable schedules; return the ids of those that changed."""
    using = using or get_settings().database
    with transaction.atomic(using):
        return _switch(ids, using, enabled=False)


def _switch(ids: Collection[int], using: str, *, enabled: bool) -> list[int]:
    changing = list(_locked(using).filter(pk__in=ids, enabled=not enabled))
    for schedule in changing:
        schedule.enabled = enabled
        by_hand(schedule)
        schedule.save(using=using)
    changed(using)
    return [schedule.pk for schedule in changing]


def skip_next(ids: Collection[int], *, using: str = "") -> list[int]:
    """Skip the next tick of each schedule; return the ids of those that had one."""
    using = using or get_settings().database
    skipped = []
    with transaction.atomic(using):
        for schedule in _locked(using).filter(pk__in=ids, enabled=True, next_run_at__isnull=False):
            tick = utc(schedule.next_run_at)
            assert tick is not None
            try:
                following = tick_after(schedule, tick)
            except (ValueError, ArithmeticError):  # the row was edited by hand; beat logs it
                continue
            Schedule.objects.using(using).filter(pk=schedule.pk).update(
                next_run_at=stored(following),
                enabled=following is not None,
                skipped_count=F("skipped_count") + 1,
            )
            skipped.append(schedule.pk)
        changed(using)
    return skipped


def run_now(schedule: Schedule, *, using: str = "") -> UUID:
    """Enqueue the schedule's job now, in addition to its ticks; return the job's id.

    Raises ``UnknownJob``, ``TypeError``, ``ValueError`` and ``QueueFull`` as enqueuing does, and
    ``JobsError`` when a live job has the unique key.
    """
    using = using or get_settings().database
    with transaction.atomic(using):
        list(_locked(using).filter(pk=schedule.pk).values_list("pk"))
        row = row_of(schedule)
        (job_id,) = write([row], using)
        if job_id != row.id:
            raise JobsError(
                f"Job {job_id} is live and has the same unique key. Wait for its end, or revoke it."
            )
        Schedule.objects.using(using).filter(pk=schedule.pk).update(
            last_run_at=clock(using), last_job_id=row.id, run_count=F("run_count") + 1
        )
    return row.id


def by_hand(schedule: Schedule) -> None:
    """Note that a person changed the schedule, so that the next deploy keeps the change."""
    if schedule.source == Source.CODE:
        schedule.source = Source.CHANGED
    elif schedule.source == Source.GONE:
        schedule.source = Source.ADMIN


def _locked(using: str) -> Any:
    return Schedule.objects.using(using).select_for_update().order_by("pk")
