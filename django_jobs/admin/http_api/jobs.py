"""Jobs as JSON, and the operations on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from ...define.option_problems import priority_problems, queue_problems
from ...display import json_rows
from ...metrics import cache
from ...workflows.graph import workflow_of
from .. import background
from ..job_actions import (
    COPY,
    DELETE,
    MOST_JOBS,
    RETRY,
    REVOKE,
    RUN_NOW,
    TERMINATE,
    Operation,
    perform,
    with_causes,
)
from ..job_targets import moving, retrying_from, sending
from .pages import JsonPagesMixin
from .requests import ANY, JsonAction, Refused, texts

# Turns the fields of a body into an operation.
_Made = Callable[[dict[str, Any]], Operation]


def _retry(fields: dict[str, Any]) -> Operation:
    return retrying_from(fields["from_step"]) if "from_step" in fields else RETRY


def _revoke(fields: dict[str, Any]) -> Operation:
    return TERMINATE if fields.get("terminate") else REVOKE


def _move(fields: dict[str, Any]) -> Operation:
    queue, priority = fields.get("queue"), fields.get("priority")
    problems = [] if queue is None else list(queue_problems(queue))
    problems += [] if priority is None else list(priority_problems(priority))
    if problems:
        raise Refused(400, problems[0])
    return moving(queue, priority)


def _send(fields: dict[str, Any]) -> Operation:
    return sending(fields["event"], fields.get("payload"))


def _action(
    summary: str, made: _Made, *needed: str, either: tuple[str, ...] = (), **kinds: tuple[type, ...]
) -> JsonAction:
    def act(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
        operation = made(given)
        may = admin.has_operation_permission(request, operation)
        if not (may and admin.has_view_permission(request)):
            raise PermissionDenied
        wanted = [_uuid(each) for each in texts(given, "ids", MOST_JOBS)]
        rows = admin.get_queryset(request)
        found = rows.order_by().filter(pk__in=wanted).values_list("pk", "error_class")
        seen: dict[UUID, str] = dict(found)
        errors = {pk: seen[pk] for pk in wanted if pk in seen}
        chosen, skipped = with_causes(operation, errors, rows)
        if unknown := len(wanted) - len(seen):
            skipped["unknown"] += unknown
        is_many = len(chosen) > background.MOST_IN_REQUEST and operation.in_background
        queue = background.queue_of(rows.db) if is_many else ""
        job_id = background.enqueue(operation, chosen, skipped, request.user, queue)
        done, others = 0, Counter[str]()
        if job_id is None:
            done, others = perform(operation, chosen, request.user.pk, rows.db)
        cache.clear()
        return {"changed": done, "skipped": skipped + others, "job": job_id}

    return JsonAction(summary, act, {"ids": (list,), **kinds}, ("ids", *needed), either)


_ACTIONS = {
    "retry": _action(
        "Retry ended jobs; from_step begins again with that step, or from the start if it is empty",
        _retry, from_step=(str,),
    ),
    "revoke": _action(
        "Revoke jobs that have not started; with terminate, stop those that run",
        _revoke, terminate=(bool,),
    ),
    "run-now": _action("Run scheduled jobs now", lambda given: RUN_NOW),
    "move": _action(
        "Move jobs that have not started to a queue or a priority",
        _move, either=("queue", "priority"), queue=(str,), priority=(int,),
    ),
    "copy": _action("Enqueue a copy of jobs", lambda given: COPY),
    "send-event": _action(
        "Send an event to jobs that wait for it", _send, "event", event=(str,), payload=ANY
    ),
    "delete": _action("Delete ended jobs", lambda given: DELETE),
}  # fmt: skip


class JobJsonMixin(JsonPagesMixin):
    json_actions = _ACTIONS

    def json_list(self, request: HttpRequest) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.checked_changelist(request)
        return {
            "jobs": [json_rows.listed(job) for job in found.result_list],
            "count": json_rows.counted(found.paginator.count),
            "page": found.page_num,
            "pages": found.paginator.num_pages,
            "note": getattr(found, "bound_note", ""),
        }

    def json_page(self, request: HttpRequest, key: str) -> Any:
        job = self.get_object(request, key)
        if job is None:
            raise Http404("There is no such job.")
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        found = workflow_of(job)
        shown = json_rows.workflow(found) if found.total > 1 else None
        return {**json_rows.whole(job), "workflow": shown}


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refused(400, "ids must be UUIDs") from None
