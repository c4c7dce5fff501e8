"""Job functions as JSON, and their actions: enqueue and limit."""

from __future__ import annotations

import inspect
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, transaction
from django.http import Http404, HttpRequest

from ...api.job import JobFunction
from ...api.result import AsyncResult
from ...conf import get_settings
from ...control import set_limits
from ...define import registry
from ...define.conversion import refuse_misfits
from ...define.hidden_arguments import rules_of
from ...define.json_body import CALL, CALL_OPTIONS
from ...define.routing import database_of
from ...define.sensitive import shown_arguments
from ...display import json_rows
from ...exceptions import JobsError, QueueFull
from ...limits.overrides import limits_of
from ...metrics import cache
from ...metrics.snapshot import recent_statistics
from ...models import Function, Job
from ..job_actions import COPY
from .pages import JsonPagesMixin
from .requests import ANY, NONE, JsonAction, Refused


def enqueue_logged(
    function: JobFunction[..., Any, Any], args: Any, kwargs: Any, options: Any, user_id: Any
) -> AsyncResult[Any]:
    """Enqueue the call, and log it as an addition by the user, in one transaction."""
    refuse_misfits(function, args, kwargs)
    with transaction.atomic(get_settings().database):
        result = function.apply_async(args, kwargs, **options)
        job = Job(pk=result.uuid, name=function.name)
        LogEntry.objects.log_actions(user_id, [job], ADDITION, "Enqueued.")
    cache.clear()
    return result


def enqueue(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    _check(admin, request, COPY.permission)
    function = _function(given["job"])
    if function.name in registry.INTERNAL:
        raise Refused(403, f"only django_jobs enqueues {function.name}")
    args, kwargs = given.get("args", []), given.get("kwargs", {})
    options = {name: given[name] for name in CALL_OPTIONS if name in given}
    try:
        result = enqueue_logged(function, args, kwargs, options, request.user.pk)
    except (DatabaseError, InterfaceError):
        raise
    except QueueFull:
        error = "the queue is full: send the call again later"
        raise Refused(503, error, Retry_After="60") from None
    except Exception as error:  # the function's own unique_key may raise anything
        is_ours = isinstance(error, (TypeError, ValueError, JobsError))
        text = str(error) if is_ours else f"{type(error).__name__}: {error}"
        hidden = shown_arguments(rules_of(function.name), args, kwargs)
        raise Refused(400, hidden.text(text)) from None
    return {"id": str(result.id), "job": function.name}


def limit(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    _check(admin, request, f"{Function._meta.app_label}.change_limit")
    fields = dict(given)
    name = _function(fields.pop("job")).name
    try:
        set_limits(name, **fields)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    user_id: Any = request.user.pk
    # A key may be secret.
    shown = {option: value for option, value in fields.items() if option != "key"}
    LogEntry.objects.log_actions(user_id, [Function(pk=name)], CHANGE, f"Limited: {shown}.")
    return {"job": name, **shown}


class FunctionJsonMixin(JsonPagesMixin):
    json_actions = {
        "enqueue": JsonAction("Enqueue a call of a job function", enqueue, CALL, ("job",)),
        "limit": JsonAction(
            "Set limits of a job function, or of one key; null restores those of the code", limit,
            {"job": (str,), "rate_limit": (str, NONE), "concurrency": (int, NONE), "key": ANY},
            ("job",), ("rate_limit", "concurrency"),
        ),
    }  # fmt: skip

    def json_list(self, request: HttpRequest) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        activities = json_rows.by_name(recent_statistics("24h").functions)
        return {"functions": [
            {**_shown(function), "day": activities.get(function.name)}
            for function in registry.every()
        ]}  # fmt: skip

    def json_page(self, request: HttpRequest, key: str) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        function = registry.find(key)
        if function is None:
            raise Http404(registry.missing(key))
        activities = json_rows.by_name(recent_statistics("24h").functions)
        using = database_of(function.options.queue or "")
        return {
            **_shown(function),
            "doc": inspect.getdoc(function.__wrapped__) or "",
            "day": activities.get(key),
            "limits": [
                {"key": digest, "concurrency": row.concurrency, "rate_limit": row.rate_limit}
                for digest, row in limits_of([key], using=using)[key]
            ],
        }


def _shown(function: JobFunction[..., Any, Any]) -> dict[str, Any]:
    return {
        "name": function.name,
        "queue": function.options.queue or get_settings().default_queue,
        "signature": f"{function.name.rpartition('.')[2]}{function.shown_signature}",
    }


def _check(admin: Any, request: HttpRequest, permission: str) -> None:
    if not (admin.has_view_permission(request) and request.user.has_perm(permission)):
        raise PermissionDenied


def _function(name: str) -> JobFunction[..., Any, Any]:
    function = registry.find(name)
    if function is None:
        raise Refused(404, registry.missing(name))
    return function
