"""The upcoming ticks of a schedule as a table: a row for each day, a column for each hour."""

from __future__ import annotations

import datetime
from typing import Any

from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..models import Schedule
from ..schedules.hours import existing_hours, ticks_by_hour
from ..schedules.ticks import zone_of

_DAYS = 7
# The most ticks that a table computes: they take a tenth of a second.
_MOST = 2_500
# The least ticks of an hour for each shade.
_SHADES = (1, 2, 7, 31)


def day_grid(schedule: Schedule, first: datetime.datetime | None) -> SafeString | str:
    """Return the table, from the day of the tick *first* on; empty without ticks."""
    if first is None:
        return ""
    zone = zone_of(schedule)
    found, number = ticks_by_hour(schedule, first, _DAYS, _MOST)
    today = first.astimezone(zone).date()
    days = [today + datetime.timedelta(days=passed) for passed in range(number)]
    rows = [
        {
            # Translators: a format of Django's filter "date".
            "day": date_format(day, _("D j M")),
            "hours": [_cell(found[day, hour], hour in hours) for hour in range(24)],
        }
        for day in days
        for hours in [existing_hours(day, zone)]
    ]
    context = {"rows": rows, "hours": range(24), "zone": str(zone)}
    html: SafeString = render_to_string("admin/django_jobs/schedule/day_grid.html", context)
    return html


def _cell(ticks: int, exists: bool) -> dict[str, Any]:
    if not exists:
        return {"shade": "gap", "text": "", "title": _("this hour is skipped by the clocks")}
    if not ticks:
        return {"shade": 0, "text": "", "title": ""}
    shade = sum(ticks >= least for least in _SHADES)
    title = ngettext("%d run", "%d runs", ticks) % ticks
    return {"shade": shade, "text": str(ticks) if ticks < 100 else "99+", "title": title}
