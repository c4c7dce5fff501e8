"""Converts periodic tasks of django-celery-beat to schedules."""

from __future__ import annotations

import datetime
import json
from typing import Any

from django.conf import settings

from ...models import Schedule
from ...moments import aware
from ...schedules.ticks import first_tick, stored, utc
from ...schedules.validation import problems

# Celery's own cleanup task. Workers here prune expired results themselves.
_CLEANUP = "celery.backend_cleanup"
_EITHER = (
    "Disabled: it has a day of the month and a day of the week. Celery runs it on days that match "
    "both, cron on days that match either. Change it to what you mean, and enable it."
)
_ROUTING = "exchange and routing_key have no effect here. Set a queue."


def converted(task: Any, using: str) -> tuple[Schedule | None, str, str]:
    """Return an unsaved schedule or None; the reason for None; and a note for the operator.

    The job function must be registered under the task's name. *using* is the row's database.
    """
    if task.task == _CLEANUP:
        return None, "workers delete expired results by themselves", ""
    try:
        schedule = Schedule(
            name=task.name,
            description=task.description,
            job_name=task.task,
            args=json.loads(task.args or "[]"),
            kwargs=json.loads(task.kwargs or "{}"),
            headers=json.loads(task.headers or "{}") or None,
            enabled=task.enabled,
            one_off=task.one_off,
            starts_at=task.start_time,
            # In django-celery-beat, `expires` ends the schedule and `expire_seconds` one job.
            ends_at=task.expires,
            expires_seconds=task.expire_seconds,
            queue=task.queue or "",
            priority=task.priority,
            **_timing(task),
        )
    except ValueError as error:
        return None, str(error), ""
    wrong = [text for texts in problems(schedule, using).values() for text in texts]
    if wrong:
        return None, " ".join(wrong), ""
    notes = [_ROUTING] if task.exchange or task.routing_key else []
    if _names_both_days(schedule):
        schedule.enabled = False
        notes.insert(0, _EITHER)
    if schedule.enabled:
        schedule.next_run_at = _next_tick(task, schedule)
    return schedule, "", "; ".join(notes)


def _next_tick(task: Any, schedule: Schedule) -> datetime.datetime | None:
    """Return the tick that Celery's beat would send next; None means the first one after now.

    Celery's beat saves its last tick when it stops. If the next one has passed by now, it runs as
    a missed tick.
    """
    if schedule.kind == Schedule.Kind.CLOCKED:
        # Celery's beat disables a clocked task after sending it.
        return stored(utc(schedule.clocked_at))
    if task.last_run_at is None:
        return None
    ran = utc(aware(task.last_run_at, "last_run_at"))
    assert ran is not None
    return stored(first_tick(schedule, ran))


def _timing(task: Any) -> dict[str, Any]:
    # For solar events and clocked times, the zone is only used for display.
    zone = settings.TIME_ZONE or "UTC"
    if task.interval is not None:
        length = datetime.timedelta(**{task.interval.period: task.interval.every})
        values = {"kind": "interval", "interval_seconds": length.total_seconds()}
    elif task.crontab is not None:
        zone = str(task.crontab.timezone)
        values = {"kind": "crontab", "crontab": _expression(task.crontab)}
    elif task.clocked is not None:
        values = {"kind": "clocked", "clocked_at": task.clocked.clocked_time}
    elif task.solar is not None:
        values = {
            "kind": "solar",
            "solar_event": task.solar.event,
            "latitude": float(task.solar.latitude),
            "longitude": float(task.solar.longitude),
        }
    else:
        raise ValueError("It has no interval, crontab, clocked time or solar event.")
    return {**values, "timezone": zone}


def _expression(crontab: Any) -> str:
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    return " ".join(str(getattr(crontab, name)).replace(" ", "") or "*" for name in names)


def _names_both_days(schedule: Schedule) -> bool:
    if schedule.kind != Schedule.Kind.CRONTAB:
        return False
    _minute, _hour, day, _month, weekday = schedule.crontab.split()
    return not day.startswith("*") and not weekday.startswith("*")
