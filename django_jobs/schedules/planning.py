"""Plans schedules that are new, changed or enabled again: sets their ``next_run_at``."""

from __future__ import annotations

import datetime
from collections.abc import Collection

from django.db import connections, transaction
from django.db.models import QuerySet

from .. import log
from ..db import clock
from ..db.chunks import chunks
from ..models import Schedule
from .ticks import SPEC, fingerprint, first_tick, spec_of, stored, utc

#: The most schedules that one transaction plans or fires.
BATCH = 500


def plan(using: str, ids: Collection[int] | None = None) -> int:
    """Set ``next_run_at`` of enabled schedules that have none; return how many there were.

    The value is the first tick after now, by the database's clock: never one from before the
    schedule was made, changed or enabled again. A schedule without further ticks is disabled. So is
    an invalid one, with the reason in ``last_error``.
    """
    unplanned = Schedule.objects.using(using).filter(enabled=True, next_run_at=None)
    if ids is not None:
        unplanned = unplanned.filter(pk__in=ids)
    if not unplanned.exists():
        return 0
    with transaction.atomic(using):
        found = list(locked(unplanned.annotate(now=clock(using)), using)[:BATCH])
        for schedule in found:
            plan_one(schedule, using)
    return len(found)


def plan_changed(using: str) -> int:
    """Plan again the schedules whose times changed without ``save()``; return how many.

    ``QuerySet.update()``, data migrations and SQL leave the old ``next_run_at`` in the row. Call it
    rarely: it reads the times of all schedules.
    """
    planned = Schedule.objects.using(using).filter(enabled=True, next_run_at__isnull=False)
    rows = planned.values_list("pk", "planned_for", *SPEC)
    others = [pk for pk, digest, *spec in rows if digest != fingerprint(spec)]
    count = 0
    for ids in chunks(others):
        with transaction.atomic(using):
            for schedule in locked(planned.filter(pk__in=ids).annotate(now=clock(using)), using):
                if schedule.planned_for:
                    plan_one(schedule, using)
                    count += 1
                else:
                    # Somebody set next_run_at by hand: keep it until the times change.
                    _row(schedule, using).update(planned_for=fingerprint(spec_of(schedule)))
    return count


def seconds_until_next(using: str) -> float:
    """Return the seconds until the next schedule is due, by the database's clock."""
    planned = Schedule.objects.using(using).filter(enabled=True, next_run_at__isnull=False)
    times = planned.order_by("next_run_at").values_list("next_run_at", clock(using))
    for next_run_at, now in times[:1]:
        return max(0.0, float((next_run_at - now).total_seconds()))
    return float("inf")


def locked(schedules: QuerySet[Schedule], using: str) -> QuerySet[Schedule]:
    """Lock the rows that no other beat has locked."""
    # The beat that holds the lock fires the schedule, so this one need not wait for it.
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    return schedules.select_for_update(skip_locked=skip_locked)


def plan_one(schedule: Schedule, using: str) -> None:
    """Set the next tick of a locked schedule, which was read with the annotation ``now``."""
    now = now_of(schedule)
    error = ""
    try:
        tick = first_tick(schedule, now)
    except Exception as problem:  # one bad row must not stop the others
        tick, error = None, f"disabled: {problem}"
        log.schedule_failed(schedule.name, error)
    _row(schedule, using).update(
        next_run_at=stored(tick),
        planned_for=fingerprint(spec_of(schedule)),
        enabled=tick is not None,
        last_error=error,
    )


def _row(schedule: Schedule, using: str) -> QuerySet[Schedule]:
    """Return the schedule's row, unless it was planned, fired or disabled since it was read."""
    return Schedule.objects.using(using).filter(
        pk=schedule.pk, enabled=True, next_run_at=schedule.next_run_at
    )


def now_of(schedule: Schedule) -> datetime.datetime:
    """Return the database's time at which a schedule was read, its annotation ``now``."""
    now = utc(vars(schedule)["now"])
    assert now is not None
    return now
