"""The preview in a schedule's form: its times in words, the next times, and the arguments."""

from __future__ import annotations

import itertools
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from ..display.schedule_text import description
from ..schedules.ticks import first_tick, upcoming, zone_of
from .day_grid import day_grid
from .schedule_fields import PREVIEW, tick_text
from .schedule_form import ScheduleForm

# The fields that decide the times.
_FIELDS = (
    "kind", "timezone", "every", "period", "crontab", "clocked_at", "solar_event", "latitude",
    "longitude", "starts_at", "ends_at",
)  # fmt: skip


def preview(form: ScheduleForm, request: HttpRequest) -> dict[str, Any]:
    """Return the words and the next times of the entered schedule, or its errors.

    If another job function was chosen, the HTML of its arguments is in it.
    """
    found = _times(form)
    if form.arguments.are_others:
        template = "admin/django_jobs/schedule/arguments.html"
        found["arguments"] = render_to_string(template, {"form": form}, request)
    return found


def _times(form: ScheduleForm) -> dict[str, Any]:
    schedule = form.instance
    errors = [text for name in _FIELDS for text in form.errors.get(name, ())]
    if errors:
        return {"words": "", "times": [], "grid": "", "errors": errors}
    try:
        first = first_tick(schedule, timezone.now().astimezone(zone_of(schedule)))
        ticks = list(itertools.islice(upcoming(schedule, first), PREVIEW))
        grid = day_grid(schedule, first)
    except (ValueError, ArithmeticError) as error:
        return {"words": "", "times": [], "grid": "", "errors": [str(error)]}
    zone = zone_of(schedule)
    times = [tick_text(tick.astimezone(zone)) for tick in ticks]
    return {"words": description(schedule), "times": times, "grid": grid, "errors": []}
