from __future__ import annotations

import abc
import time
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..conf import get_settings
from ..define import registry
from ..display.failure_groups import failure_groups
from ..display.times import local_text
from ..metrics.accumulator import moment
from ..metrics.capped_count import of_status, ready_queues, status_counts
from ..models import Queue, Schedule
from ..models.histogram import OTHERS
from ..status import Status
from ..workflows.upstream import UPSTREAM_FAILED
from .badges import status_badge

# The year 9000: later times are not sure to be a datetime in every time zone.
_LAST_MOMENT = 221_845_392_000


class _ColumnFilter(admin.SimpleListFilter):
    """Offers values from code and settings; a SELECT DISTINCT would read the whole table."""

    #: The column, if its name differs from the parameter's.
    column = ""

    @abc.abstractmethod
    def values(self) -> Iterable[str]:
        """Return the values to offer."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = {value} if (value := self.value()) else set()
        return [(value, value) for value in sorted(chosen.union(self.values()))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        if "\0" in value:  # PostgreSQL raises an error for it
            return queryset.none()
        return queryset.filter(**{self.column or str(self.parameter_name): value})


class NameFilter(_ColumnFilter):
    title = _("job function")
    parameter_name = "name"

    def values(self) -> Iterable[str]:
        return [function.name for function in registry.every()]


class QueueFilter(_ColumnFilter):
    title = _("queue")
    parameter_name = "queue"

    def values(self) -> Iterable[str]:
        settings = get_settings()
        named = {function.options.queue for function in registry.every()} - {None}
        stored = Queue.objects.using(settings.database).values_list("name", flat=True)
        ready = ready_queues(settings.database)
        return {settings.default_queue, *settings.queues, *map(str, named), *stored, *ready}


class ErrorFilter(_ColumnFilter):
    """Offers the errors of the failures of a week."""

    title = _("error")
    parameter_name = "error"
    column = "error_class"

    def values(self) -> Iterable[str]:
        groups = failure_groups().groups
        found = {group.error_class for group in groups} - {"", OTHERS}
        return found | {UPSTREAM_FAILED for group in groups if group.consequences}


class _LinkedFilter(_ColumnFilter):
    """Offers no values; other pages link to it."""

    def values(self) -> Iterable[str]:
        return ()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            return super().queryset(request, queryset)
        except (ValueError, ValidationError):  # not a valid id
            return queryset.none()


def _is_number(text: str) -> bool:
    """Say whether *text* is a valid id of a row with integer ids."""
    return text.isascii() and text.isdecimal() and len(text) <= 18


class ScheduleFilter(_LinkedFilter):
    title = _("schedule")
    parameter_name = "schedule"
    column = "schedule_id"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is not None and not _is_number(str(self.value())):
            return queryset.none()
        return super().queryset(request, queryset)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = self.value() or ""
        if not _is_number(chosen):
            return super().lookups(request, model_admin)
        row = Schedule.objects.using(get_settings().database).filter(pk=chosen)
        return [(chosen, row.values_list("name", flat=True).first() or chosen)]


class WorkerFilter(_LinkedFilter):
    title = _("worker")
    parameter_name = "worker"
    column = "worker_id"


class AgeFilter(admin.SimpleListFilter):
    """Filters by the time in the id, for which the primary key is the index."""

    title = _("enqueued")
    parameter_name = "age"
    _AGES = {"hour": 3600, "day": 86_400, "week": 604_800}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("hour", _("Past hour")), ("day", _("Past 24 hours")), ("week", _("Past 7 days")),
        ]  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        seconds = self._AGES.get(self.value() or "")
        return queryset if seconds is None else queryset.filter(pk__gte=first_id(seconds))


class EndedFilter(_LinkedFilter):
    """Filters by two Unix times, ``1700000000-1700000060``: the bars of charts link to it."""

    title = _("ended")
    parameter_name = "ended"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        if (times := ended_between(str(self.value()))) is None:
            return queryset.none()
        start, end = times
        # A job is enqueued before it ends, so the index of the ids ends there.
        return queryset.filter(
            ended_at__gte=moment(start), ended_at__lt=moment(end), pk__lt=first_id_at(end)
        )

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        times = ended_between(str(self.value() or ""))
        if times is None:
            return super().lookups(request, model_admin)
        start, end = map(local_text, map(moment, times))
        return [(str(self.value()), f"{start[:16]} – {end[11:16]}")]


def ended_between(text: str) -> tuple[int, int] | None:
    """Return the two Unix times that *text* names, or None."""
    first, _dash, last = text.partition("-")
    if not (_is_number(first) and _is_number(last) and int(first) < int(last) < _LAST_MOMENT):
        return None
    return int(first), int(last)


class AttemptsFilter(admin.SimpleListFilter):
    title = _("attempts")
    parameter_name = "attempts"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("more", _("More than one"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(retries__gt=0) if self.value() == "more" else queryset


def first_id(seconds: float) -> UUID:
    """Return the lowest possible id of a job that was enqueued at most *seconds* ago."""
    return first_id_at(time.time() - seconds)


def first_id_at(unix_time: float) -> UUID:
    """Return the lowest possible id of a job that was enqueued then."""
    return UUID(int=int(unix_time * 1000) << 80)


class StatusFilter(admin.SimpleListFilter):
    """Appears as tabs above the list, so its template for the sidebar is empty."""

    title = _("status")
    parameter_name = "status"
    template = "admin/django_jobs/job/status_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        return of_status(queryset, value) if value in Status.values else queryset.none()  # type: ignore[arg-type]

    def tabs(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """Yield the tabs: a label, a link and, without other filters, the number of jobs."""
        others = set(changelist.params) - {str(self.parameter_name)}
        counts = {} if others or changelist.query else status_counts(get_settings().database)
        yield {
            "label": _("All"),
            "selected": self.value() is None,
            "link": changelist.get_query_string(remove=[self.parameter_name]),
        }
        for status in Status:
            yield {
                "label": status_badge(status),
                "selected": self.value() == status,
                "link": changelist.get_query_string({self.parameter_name: status.value}),
                "count": counts.get(status),
            }
