"""The page with the ticks of all schedules in each hour, and its JSON."""

from __future__ import annotations

import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..models import Schedule
from ..schedules.busy_hours import DAYS, MOST_SCHEDULES, BusyHours, Hour, busy_hours
from ..schedules.hours import existing_hours
from ..schedules.timetables import Label
from .base import linked, page_on
from .http_api.schedules import ScheduleJsonMixin
from .schedule_fields import ScheduleFields

#: The parameter of an hour, such as ``2026-01-31T14``, and its format.
_PARAMETER, _FORMAT = "hour", "%Y-%m-%dT%H"
_LISTED = 50
# The shades of an hour by its place between the least and the most ticks.
_SHADES = (0.25, 0.5, 0.75)
# The least difference that the shades show, as a part of the most ticks.
_LEAST_SPREAD = 0.05


class BusyHoursMixin(ScheduleJsonMixin, ScheduleFields):
    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.busy_hours_view)
        view = self._with_json(page, self.json_busy_hours)
        name = f"{self.opts.app_label}_{self.opts.model_name}_busy_hours"
        return [path("busy-hours/", view, name=name), *super().get_urls()]

    def json_busy_hours(self, request: HttpRequest) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self._busy_hours(request)
        return {
            "timezone": timezone.get_current_timezone_name(),
            "schedules": found.counted,
            "left_out": found.left_out,
            "capped": found.capped,
            "hours": [
                {
                    "starts_at": hour.starts_at, "day": hour.day, "hour": hour.hour,
                    "ticks": hour.ticks, "schedules": hour.schedules,
                    "busiest": [{"id": one.pk, "name": one.name, "ticks": one.ticks}
                                for one in hour.busiest],
                }
                for hour in found.hours
            ],
        }  # fmt: skip

    def busy_hours_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        found = self._busy_hours(request)
        most = max(found.hours, key=lambda hour: hour.ticks, default=None)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Runs of all schedules by hour"),
            "opts": self.opts,
            "media": self.media,
            "rows": _rows(found),
            "columns": range(24),
            "zone": timezone.get_current_timezone_name(),
            "note": _note(found),
            "most": _told(most) if most is not None and most.ticks else "",
            "most_url": _address(most) if most is not None else "",
            "chosen": self._chosen(request),
        }
        return TemplateResponse(request, "admin/django_jobs/schedule/busy_hours.html", context)

    def _busy_hours(self, request: HttpRequest, **options: Any) -> BusyHours:
        zone = timezone.get_current_timezone()
        return busy_hours(self.get_queryset(request), timezone.now(), zone, **options)

    def _chosen(self, request: HttpRequest) -> dict[str, Any] | None:
        """Return the hour that the address names, with its schedules, or None if it names none."""
        label = _label(request.GET.get(_PARAMETER, ""))
        if label is None:
            return None
        hours = self._busy_hours(request, only=label, named=_LISTED).hours
        if not hours:
            return None
        (hour,) = hours
        schedules = self.get_queryset(request).in_bulk([one.pk for one in hour.busiest])
        rows = [
            {
                "name": linked(page_on(self.admin_site, Schedule, "change", one.pk), one.name),
                "function": self.function(schedules[one.pk]),
                "when": self.when(schedules[one.pk]),
                "ticks": f"{one.ticks:,}",
            }
            for one in hour.busiest
            if one.pk in schedules
        ]
        number = hour.schedules - len(hour.busiest)
        more = ngettext("and %(number)s more", "and %(number)s more", number) % {
            "number": f"{number:,}"
        }
        return {"title": _told(hour), "rows": rows, "more": more if number else ""}


def _rows(found: BusyHours) -> list[dict[str, Any]]:
    zone = timezone.get_current_timezone()
    hours = {(hour.day, hour.hour): hour for hour in found.hours}
    # The current hour has begun, so it says nothing of the least.
    whole = [hour.ticks for hour in found.hours[1:] if hour.ticks]
    ticks = range(min(whole, default=0), max((hour.ticks for hour in found.hours), default=0))
    first = min(hours, default=(timezone.localdate(), 0))
    days = [first[0] + datetime.timedelta(days=passed) for passed in range(DAYS)]
    return [
        {
            # Translators: a format of Django's filter "date".
            "day": date_format(day, _("D j M")),
            "cells": [_cell(hours.get((day, hour)), hour in there, ticks) for hour in range(24)],
        }
        for day in days
        for there in [existing_hours(day, zone)]
    ]


def _cell(hour: Hour | None, exists: bool, ticks: range) -> dict[str, Any]:
    if not exists:
        return {"shade": "gap", "gap": _("this hour is skipped by the clocks")}
    if hour is None or not hour.ticks:
        return {"shade": 0}
    spread = max(len(ticks), ticks.stop * _LEAST_SPREAD, 1)
    place = 1 - (ticks.stop - hour.ticks) / spread
    shade = 1 + sum(place >= least for least in _SHADES)
    names = [f"{one.name} ({one.ticks:,})" for one in hour.busiest]
    if others := hour.schedules - len(names):
        names.append(ngettext("%d other", "%d others", others) % others)
    title = f"{_told(hour)}: {', '.join(names)}"
    return {"shade": shade, "text": _short(hour.ticks), "title": title, "url": _address(hour)}


def _told(hour: Hour) -> str:
    # Translators: a format of Django's filter "date".
    day = date_format(hour.day, _("D j M"))
    runs = ngettext("%s run", "%s runs", hour.ticks) % f"{hour.ticks:,}"
    schedules = ngettext("%s schedule", "%s schedules", hour.schedules) % f"{hour.schedules:,}"
    return _("%(when)s, %(runs)s of %(schedules)s") % {
        "when": f"{day} {hour.hour}:00", "runs": runs, "schedules": schedules,
    }  # fmt: skip


def _note(found: BusyHours) -> str:
    notes = []
    if found.capped:
        text = _("Only the %s schedules that run next are counted.")
        notes.append(text % f"{MOST_SCHEDULES:,}")
    if found.left_out:
        text = ngettext(
            "%s schedule is not counted: the times of the schedules differ too much.",
            "%s schedules are not counted: the times of the schedules differ too much.",
            found.left_out,
        )
        notes.append(text % f"{found.left_out:,}")
    return " ".join(notes)


def _short(number: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            return f"{number / unit:.1f}{name}" if number < 10 * unit else f"{number // unit}{name}"
    return str(number)


def _address(hour: Hour) -> str:
    return f"?{_PARAMETER}={hour.day:%Y-%m-%d}T{hour.hour:02}#jobs-hour"


def _label(text: str) -> Label | None:
    try:
        found = datetime.datetime.strptime(text, _FORMAT)  # noqa: DTZ007
    except ValueError:
        return None
    return found.date(), found.hour
