"""Filters of the job list by time; the ids begin with the time of the enqueue."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..display.times import local_text
from ..metrics.accumulator import moment
from .column_filters import LinkedFilter, is_number_id

# The year 9000: later times are not sure to be a datetime in every time zone.
_LAST_MOMENT = 221_845_392_000


class AgeFilter(admin.SimpleListFilter):
    """Filters by the time in the id, for which the primary key is the index."""

    title = _("enqueued")
    parameter_name = "age"
    _AGES = {"hour": 3600, "day": 86_400, "week": 604_800}
    _OLDER = {"over-week": 604_800, "over-month": 30 * 86_400, "over-quarter": 90 * 86_400}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("hour", _("Past hour")), ("day", _("Past 24 hours")), ("week", _("Past 7 days")),
            ("over-week", _("More than 7 days ago")), ("over-month", _("More than 30 days ago")),
            ("over-quarter", _("More than 90 days ago")),
        ]  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        if value in self._OLDER:
            return queryset.filter(pk__lt=first_id(self._OLDER[value]))
        seconds = self._AGES.get(value)
        return queryset if seconds is None else queryset.filter(pk__gte=first_id(seconds))


class EndedFilter(LinkedFilter):
    """Filters by two Unix times, ``1700000000-1700000060``: the bars of charts link to it."""

    title = _("ended")
    parameter_name = "ended"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        if (times := ended_between(str(self.value()))) is None:
            return queryset.none()
        start, end = times
        ended = queryset.filter(ended_at__gte=moment(start), ended_at__lt=moment(end))
        return self.enqueued_before(ended)

    def enqueued_before(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the jobs that existed then: the index of the ids ends there."""
        times = ended_between(str(self.value() or ""))
        return queryset if times is None else queryset.filter(pk__lt=first_id_at(times[1]))

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        times = ended_between(str(self.value() or ""))
        if times is None:
            return super().lookups(request, model_admin)
        start, end = map(local_text, map(moment, times))
        return [(str(self.value()), f"{start[:16]} – {end[11:16]}")]


def ended_between(text: str) -> tuple[int, int] | None:
    """Return the two Unix times that *text* names, or None."""
    first, _dash, last = text.partition("-")
    if not (is_number_id(first) and is_number_id(last) and int(first) < int(last) < _LAST_MOMENT):
        return None
    return int(first), int(last)


class DatesFilter(admin.ListFilter):
    """Filters by the first and the last day, of which one may be empty."""

    title = _("dates")
    template = "admin/django_jobs/job/dates_filter.html"
    #: See :class:`~django_jobs.admin.base.FilteredAdminMixin`.
    parameter_names = ("from", "to")

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Any], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.parameter_names:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.parameter_names)

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """Yield the template's choice: the dates, and the parameters of the other filters."""
        others = changelist.get_filters_params()
        yield {
            **{f"{name}_day": self.used_parameters.get(name, "") for name in self.parameter_names},
            "hidden": [(name, value) for name, values in others.items() for value in values
                       if name not in self.parameter_names],
            "query": changelist.query,
        }  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if start := self.day("from"):
            queryset = queryset.filter(pk__gte=_id_at(start))
        if last := self.day("to"):
            queryset = queryset.filter(pk__lt=_id_at(last + datetime.timedelta(days=1)))
        return queryset

    def day(self, name: str) -> datetime.date | None:
        """Return the parameter as a date, or None if it is none that can be searched for."""
        try:
            found = datetime.date.fromisoformat(str(self.used_parameters.get(name, "")))
        except ValueError:
            return None
        return found if 1970 < found.year < 9999 else None


def first_id(seconds: float) -> UUID:
    """Return the lowest possible id of a job that was enqueued at most *seconds* ago."""
    return first_id_at(time.time() - seconds)


def first_id_at(unix_time: float) -> UUID:
    """Return the lowest possible id of a job that was enqueued then."""
    return UUID(int=int(unix_time * 1000) << 80)


def _id_at(day: datetime.date) -> UUID:
    """Return the lowest possible id of a job that was enqueued on *day*, in the current zone."""
    begin = datetime.datetime.combine(day, datetime.time())
    return first_id_at(timezone.make_aware(begin, timezone.get_current_timezone()).timestamp())
