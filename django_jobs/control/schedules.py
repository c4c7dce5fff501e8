"""What a person, or code, does to schedules: enable, disable, run now, skip the next tick."""

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
from ..schedules.rows import function_of, row_of
from ..schedules.ticks import stored, tick_after, utc

Source = Schedule.Source


def changed(using: str) -> None:
    """Wake the beats once the current transaction has committed."""
    announce(using, {Topic.SCHEDULES})


def enable(ids: Collection[int], *, using: str = "") -> list[int]:
    """Let schedules run again, from their next tick after now; return those that did not before.

    One that left the code belongs to the operator from then on.
    """
    using = using or get_settings().database
    with transaction.atomic(using):
        off = list(_locked(using).filter(pk__in=ids, enabled=False))
        for schedule in off:
            schedule.enabled = True
            by_hand(schedule)
            schedule.save(using=using)
        enabled = [schedule.pk for schedule in off]
        plan(using, enabled)
        changed(using)
    return enabled


def disable(ids: Collection[int], *, using: str = "") -> list[int]:
    """Stop schedules; return those that ran before."""
    using = using or get_settings().database
    with transaction.atomic(using):
        on = list(_locked(using).filter(pk__in=ids, enabled=True))
        for schedule in on:
            schedule.enabled = False
            by_hand(schedule)
            schedule.save(using=using)
        changed(using)
    return [schedule.pk for schedule in on]


def skip_next(ids: Collection[int], *, using: str = "") -> list[int]:
    """Leave out the next tick of each schedule; return those that had one."""
    using = using or get_settings().database
    skipped = []
    with transaction.atomic(using):
        for schedule in _locked(using).filter(pk__in=ids, enabled=True, next_run_at__isnull=False):
            tick = utc(schedule.next_run_at)
            assert tick is not None
            try:
                following = tick_after(schedule, tick)
            except (ValueError, ArithmeticError):  # edited by hand into nonsense: beat says so
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
    """Enqueue the schedule's job once, beside its ticks; return the job's id.

    Raises what enqueuing raises: ``UnknownJob``, ``TypeError``, ``ValueError``, ``QueueFull``, and
    ``JobsError`` when a live job has its unique key.
    """
    using = using or get_settings().database
    with transaction.atomic(using):
        list(_locked(using).filter(pk=schedule.pk).values_list("pk"))
        row = row_of(schedule)
        (job_id,) = write(function_of(schedule), [row], using)
        if job_id != row.id:
            raise JobsError(
                f"Job {job_id} is live and has the same unique key. Wait for its end, or revoke it."
            )
        Schedule.objects.using(using).filter(pk=schedule.pk).update(
            last_run_at=clock(using), last_job_id=row.id, run_count=F("run_count") + 1
        )
    return row.id


def by_hand(schedule: Schedule) -> None:
    """Note that an operator changed what the code says, so that the next deploy keeps it."""
    if schedule.source == Source.CODE:
        schedule.source = Source.CHANGED
    elif schedule.source == Source.GONE:
        schedule.source = Source.ADMIN


def _locked(using: str) -> Any:
    return Schedule.objects.using(using).select_for_update().order_by("pk")
