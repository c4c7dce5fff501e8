"""Queues as JSON, and their actions: pause, resume, clear and limit."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from ...control import clear_queue, pause_queue, resume_queue, set_queue_limits
from ...define.option_problems import queue_problems
from ...define.routing import database_of
from ...display import json_rows
from ...metrics import cache
from ...metrics.snapshot import Overview, overview, recent_statistics
from ...models import Queue
from ..operations import PageOperation
from ..queue_buttons import CLEAR, PAUSE, RESUME
from .pages import JsonPagesMixin
from .requests import NONE, JsonAction, Refused, texts

MOST_QUEUES = 100


def pause(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    by = request.user.get_username()
    names = _named(admin, request, given, PAUSE)
    return _changed(request, "Paused.", [each for each in names if pause_queue(each, by=by)])


def resume(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    names = _named(admin, request, given, RESUME)
    return _changed(request, "Resumed.", [each for each in names if resume_queue(each)])


def clear(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    _check(admin, request, admin.has_operation_permission(request, CLEAR))
    name = str(given["queue"])
    _check_name(name)
    deleted = clear_queue(name, using=database_of(name))
    if deleted:
        _log(request, [name], f"Cleared: {deleted} ready jobs were deleted.")
    return {"deleted": deleted}


def limit(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    _check(admin, request, admin.has_change_permission(request))
    fields = dict(given)
    name = fields.pop("queue")
    try:
        set_queue_limits(name, **fields)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    _log(request, [name], f"Limited: {fields}.")
    return {"queue": name, **fields}


class QueueJsonMixin(JsonPagesMixin):
    json_actions = {
        "pause": JsonAction("Pause queues", pause, {"queues": (list,)}, ("queues",)),
        "resume": JsonAction("Resume queues", resume, {"queues": (list,)}, ("queues",)),
        "clear": JsonAction("Delete the ready jobs", clear, {"queue": (str,)}, ("queue",)),
        "limit": JsonAction(
            "Set limits of a queue; null restores those of the settings", limit,
            {"queue": (str,), "rate_limit": (str, NONE), "concurrency": (int, NONE)}, ("queue",),
            ("rate_limit", "concurrency"),
        ),
    }  # fmt: skip

    def json_list(self, request: HttpRequest) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        activities = json_rows.by_name(recent_statistics("24h").queues)
        snapshot = overview()
        return {"queues": [
            {**_state(snapshot, state), "day": activities.get(state.name)}
            for state in snapshot.queues
        ]}  # fmt: skip

    def json_page(self, request: HttpRequest, key: str) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        key, snapshot = unquote(key), overview()
        found = next((state for state in snapshot.queues if state.name == key), None)
        if found is None:
            raise Http404("There is no such queue.")
        activities = json_rows.by_name(recent_statistics("24h").queues)
        return {**_state(snapshot, found), "day": activities.get(key)}


def _state(snapshot: Overview, state: Any) -> dict[str, Any]:
    return json_rows.queue(state, snapshot.executing)


def _named(
    admin: Any, request: HttpRequest, given: dict[str, Any], operation: PageOperation
) -> list[str]:
    _check(admin, request, admin.has_operation_permission(request, operation))
    names = texts(given, "queues", MOST_QUEUES)
    for name in names:
        _check_name(name)
    return names


def _check_name(name: str) -> None:
    for problem in queue_problems(name):
        raise Refused(400, problem)


def _check(admin: Any, request: HttpRequest, may: bool) -> None:
    if not (may and admin.has_view_permission(request)):
        raise PermissionDenied


def _changed(request: HttpRequest, audit: str, names: list[str]) -> dict[str, Any]:
    _log(request, names, audit)
    return {"changed": names}


def _log(request: HttpRequest, names: list[str], audit: str) -> None:
    if names:
        user_id: Any = request.user.pk
        rows = [Queue(name=name) for name in names]
        LogEntry.objects.log_actions(user_id, rows, CHANGE, audit)
        cache.clear()
