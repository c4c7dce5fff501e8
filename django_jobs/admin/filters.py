from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..conf import get_settings
from ..define import registry
from ..display.failure_groups import known_errors
from ..display.job_text import short_class
from ..metrics.capped_count import of_status
from ..metrics.snapshot import earlier_overview
from ..models import Schedule
from ..status import Status
from .badges import status_badge
from .column_filters import ColumnFilter, LinkedFilter, is_number_id


class NameFilter(ColumnFilter):
    title = _("job function")
    parameter_name = "name"

    def values(self) -> Iterable[str]:
        return [function.name for function in registry.every()]


class QueueFilter(ColumnFilter):
    title = _("queue")
    parameter_name = "queue"

    def values(self) -> Iterable[str]:
        return (state.name for state in earlier_overview(get_settings().database).queues)


class ErrorFilter(ColumnFilter):
    """Offers the errors of the failures of a week."""

    title = _("error")
    parameter_name = "error"
    column = "error_class"

    def values(self) -> Iterable[str]:
        return known_errors(get_settings().database)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        paths = [path for path, _label in super().lookups(request, model_admin)]
        number = Counter(map(short_class, paths))
        # The name as the column shows it, unless two errors share it.
        return [
            (path, path if number[short_class(path)] > 1 else short_class(path)) for path in paths
        ]


class ScheduleFilter(LinkedFilter):
    title = _("schedule")
    parameter_name = "schedule"
    column = "schedule_id"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is not None and not is_number_id(str(self.value())):
            return queryset.none()
        return super().queryset(request, queryset)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = self.value() or ""
        if not is_number_id(chosen):
            return super().lookups(request, model_admin)
        row = Schedule.objects.using(get_settings().database).filter(pk=chosen)
        return [(chosen, row.values_list("name", flat=True).first() or chosen)]


class WorkerFilter(LinkedFilter):
    title = _("worker")
    parameter_name = "worker"
    column = "worker_id"


class AttemptsFilter(admin.SimpleListFilter):
    title = _("attempts")
    parameter_name = "attempts"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("more", _("More than one"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(retries__gt=0) if self.value() == "more" else queryset


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

    def tabs(self, changelist: Any) -> Iterator[dict[str, Any]]:
        """Yield the tabs: a label, a link and the number of jobs that match the other filters."""
        counts = changelist.counts_by_status()
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
