"""Schedules as JSON, and their actions: run, skip, enable and disable."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest

from ...control import schedules
from ...define.sensitive import shown_schedule
from ...display import json_rows
from ...metrics import cache
from ...models import Schedule
from ..schedule_buttons import OPERATIONS
from .pages import JsonPagesMixin
from .requests import JsonAction, Refused, texts

MOST_SCHEDULES = 100
_NAMES = {
    "enable": "enable_schedules", "disable": "disable_schedules", "skip-next": "skip_next",
    "run-now": "run_now",
}  # fmt: skip
_SUMMARIES = {
    "enable": "Enable schedules, by name",
    "disable": "Disable schedules, by name",
    "skip-next": "Skip the next run of schedules",
    "run-now": "Enqueue the jobs of schedules now, in addition to their runs",
}


def _action(name: str) -> JsonAction:
    operation = next(one for one in OPERATIONS if one.name == _NAMES[name])

    def act(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
        if not (admin.has_view_permission(request)
                and admin.has_operation_permission(request, operation)):  # fmt: skip
            raise PermissionDenied
        wanted = texts(given, "schedules", MOST_SCHEDULES)
        rows = admin.get_queryset(request)
        found = {row.name: row for row in rows.filter(name__in=wanted)}
        if unknown := [each for each in wanted if each not in found]:
            raise Refused(404, f"there is no schedule {unknown[0]!r:.100}")
        chosen = [row for row in found.values() if row.enabled in operation.enabled]
        jobs: dict[str, Any] = {}
        with transaction.atomic(rows.db):
            if operation.run is None:
                jobs = {row.name: _run(row, rows.db) for row in chosen}
                changed = [row for row in chosen if row.name in jobs]
            else:
                done = operation.run([row.pk for row in chosen], using=rows.db)
                changed = [row for row in chosen if row.pk in done]
            user_id: Any = request.user.pk
            LogEntry.objects.log_actions(user_id, changed, CHANGE, operation.audit)
        cache.clear()
        names = [row.name for row in changed]
        return {"changed": names, "jobs": jobs}

    summary = _SUMMARIES[name]
    return JsonAction(summary, act, {"schedules": (list,)}, ("schedules",))


def _run(row: Schedule, using: str) -> Any:
    try:
        return schedules.run_now(row, using=using)
    except Exception as error:  # the function's own unique_key may raise anything
        why = shown_schedule(row).text(str(error))
        raise Refused(409, f"{row.name}: {type(error).__name__}: {why}") from None


class ScheduleJsonMixin(JsonPagesMixin):
    json_actions = {name: _action(name) for name in _NAMES}

    def json_list(self, request: HttpRequest) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.checked_changelist(request)
        return {
            "schedules": [json_rows.schedule(row) for row in found.result_list],
            "page": found.page_num,
            "pages": found.paginator.num_pages,
        }

    def json_page(self, request: HttpRequest, key: str) -> Any:
        row = self.get_object(request, key)
        if row is None:
            raise Http404("There is no such schedule.")
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return json_rows.schedule(row, with_payload=True)
