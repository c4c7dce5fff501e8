"""Writes ``openapi.json``, the description of the HTTP API, from the tables of the actions.

After a change of the actions or of what the pages answer, run ``python -m docs.openapi``. The tests
hold the file against the answers.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import django

from .openapi_fields import field_schema

FILE = Path(__file__).parent / "openapi.json"

Schema = dict[str, Any]
TEXT, WHOLE, NUMBER, BOOL = ({"type": t} for t in ("string", "integer", "number", "boolean"))
ANY: Schema = {}
UUID = {"type": "string", "format": "uuid"}
TIME = {"type": "string", "format": "date-time"}
DAY = {"type": "string", "format": "date"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def array(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def record(**fields: Schema) -> Schema:
    """Return the schema of an object that has these fields, all of them and no others."""
    return {
        "type": "object", "properties": fields, "required": list(fields),
        "additionalProperties": False,
    }  # fmt: skip


STATUSES = ["WAITING", "SCHEDULED", "PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"]
_JOB = {
    "id": UUID, "name": TEXT, "status": ref("Status"), "queue": TEXT, "priority": WHOLE,
    "attempt": WHOLE, "retries": WHOLE, "crashes": WHOLE, "worker_id": maybe(UUID),
    "enqueued_at": maybe(TIME), "run_at": maybe(TIME), "ready_at": maybe(TIME),
    "started_at": maybe(TIME), "ended_at": maybe(TIME), "expires_at": maybe(TIME),
    "waiting": maybe(ref("Waiting")), "args": ANY, "kwargs": ANY, "error_class": TEXT,
}  # fmt: skip
_RUN = {
    "attempt": WHOLE, "status": TEXT, "worker_id": maybe(UUID), "started_at": maybe(TIME),
    "ended_at": maybe(TIME),
}  # fmt: skip
_QUEUE = {
    "name": TEXT, "ready": ref("Count"), "running": WHOLE, "timed": WHOLE, "slots": WHOLE,
    "oldest": maybe(TIME), "concurrency": maybe(WHOLE), "rate_limit": TEXT,
    "target_seconds": maybe(NUMBER), "paused_at": maybe(TIME), "paused_by": TEXT,
    "workers": array(TEXT),
}  # fmt: skip
_WORKER = {
    "id": UUID, "name": TEXT, "hostname": TEXT, "pid": WHOLE, "pool": TEXT, "slots": WHOLE,
    "busy": WHOLE, "jobs_done": WHOLE, "memory_bytes": maybe(WHOLE), "queues": array(TEXT),
    "exclude_queues": array(TEXT), "quiet": BOOL, "version": TEXT, "supervisor_id": maybe(UUID),
    "started_at": TIME, "heartbeat_at": TIME, "lease_until": TIME,
}  # fmt: skip
_LISTED_WORKER = _WORKER | {
    "stopped_at": maybe(TIME), "lost_at": maybe(TIME), "is_live": BOOL,
    "samples": array(maybe(record(memory_bytes=WHOLE, busy=NUMBER))),
}  # fmt: skip
_SCHEDULE = {
    "id": WHOLE, "name": TEXT, "description": TEXT, "job_name": TEXT, "kind": TEXT,
    "interval_seconds": maybe(NUMBER), "crontab": TEXT, "clocked_at": maybe(TIME),
    "solar_event": TEXT, "latitude": maybe(NUMBER), "longitude": maybe(NUMBER), "timezone": TEXT,
    "enabled": BOOL, "source": TEXT, "starts_at": maybe(TIME), "ends_at": maybe(TIME),
    "one_off": BOOL, "next_run_at": maybe(TIME), "last_run_at": maybe(TIME),
    "last_job_id": maybe(UUID), "run_count": WHOLE, "skipped_count": WHOLE, "last_error": TEXT,
}  # fmt: skip
_FUNCTION = {"name": TEXT, "queue": TEXT, "signature": TEXT}
_COUNTS = {"succeeded": WHOLE, "failed": WHOLE, "retried": WHOLE, "revoked": WHOLE}
_PAGED = {"page": WHOLE, "pages": WHOLE}

SCHEMAS = {
    "Error": record(error=TEXT),
    "Status": {"enum": STATUSES},
    "Count": record(count=WHOLE, capped=BOOL),
    "Counts": {"type": "object", "additionalProperties": ref("Count")},
    # Of the fields of django_jobs.api.waiting_reason it has those that are set.
    "Waiting": {"type": "object", "properties": {"kind": TEXT}, "required": ["kind"]},
    "ListedJob": record(**_JOB),
    "Jobs": record(jobs=array(ref("ListedJob")), count=ref("Count"), note=TEXT, **_PAGED),
    "Job": record(
        **_JOB, headers=ANY, result=ANY, progress=ANY, error_message=TEXT,
        attempts=array(record(**_RUN, error_class=TEXT, error_message=TEXT, traceback=TEXT)),
        logs=array(record(**_RUN, left_out=WHOLE, lines=array({"type": "object"}))),
        steps=array({"type": "object"}), workflow=maybe(ref("Workflow")),
    ),
    "Workflow": record(
        done=WHOLE, total=WHOLE, failed=WHOLE, statuses={"type": "object"},
        nodes=array(record(
            id=UUID, name=TEXT, status=ref("Status"), group_id=maybe(UUID), parents=array(UUID),
        )),
    ),
    "Spread": record(p50=maybe(NUMBER), p95=maybe(NUMBER), p99=maybe(NUMBER), mean=maybe(NUMBER),
                     longest=maybe(NUMBER)),
    "Activity": record(started=WHOLE, **_COUNTS, rescued=WHOLE, run_seconds=NUMBER,
                       wait=ref("Spread"), run=ref("Spread"), ended_by_step=array(WHOLE)),
    "Statistics": record(
        period=TEXT, step_seconds=WHOLE, total=ref("Activity"),
        points=array(record(starts_at=TIME, **_COUNTS, wait=ref("Spread"), run=ref("Spread"))),
    ),
    "FailureGroup": record(name=TEXT, error_class=TEXT, hour=WHOLE, day=WHOLE, week=WHOLE,
                           first_seen=maybe(TIME), last_seen=maybe(TIME), sample=maybe(UUID),
                           by_step=array(WHOLE), left=WHOLE, consequences=WHOLE),
    "Dashboard": record(
        at=TIME, statuses=ref("Counts"), waiting=ref("Counts"), slots=WHOLE, lacks_beat=BOOL,
        alerts=array(TEXT),
        statistics=ref("Statistics"),
        queues=maybe(array(record(**_QUEUE))), failures=maybe(array(ref("FailureGroup"))),
        workers=maybe(array(record(**_WORKER))), schedules=maybe(array(record(**_SCHEDULE))),
    ),
    "Queue": record(**_QUEUE, day=maybe(ref("Activity"))),
    "Queues": record(queues=array(ref("Queue"))),
    "Workers": record(workers=array(record(**_LISTED_WORKER)), **_PAGED),
    "Worker": record(
        **_LISTED_WORKER, running=maybe(array(ref("ListedJob"))),
        commands=array(record(id=WHOLE, name=TEXT, created_by=TEXT, created_at=TIME,
                              done_at=maybe(TIME), answer=ANY)),
    ),
    "Schedules": record(schedules=array(record(**_SCHEDULE)), **_PAGED),
    "BusyHours": record(
        timezone=TEXT, schedules=WHOLE, left_out=WHOLE, capped=BOOL,
        hours=array(record(
            starts_at=TIME, day=DAY, hour=WHOLE, ticks=WHOLE, schedules=WHOLE,
            busiest=array(record(id=WHOLE, name=TEXT, ticks=WHOLE)),
        )),
    ),
    "Schedule": record(**_SCHEDULE, args=ANY, kwargs=ANY),
    "Functions": record(functions=array(record(**_FUNCTION, day=maybe(ref("Activity"))))),
    "Function": record(
        **_FUNCTION, doc=TEXT, day=maybe(ref("Activity")),
        limits=array(record(key=TEXT, concurrency=maybe(WHOLE), rate_limit=TEXT)),
    ),
    "ChangedJobs": record(
        changed=WHOLE, skipped={"type": "object", "additionalProperties": WHOLE},
        # The background job that changes them, if they are more than 1,000.
        job=maybe(UUID),
    ),
    "ChangedQueues": record(changed=array(TEXT)),
    "ChangedSchedules": record(
        changed=array(TEXT), jobs={"type": "object", "additionalProperties": UUID}
    ),
    "Deleted": record(deleted=WHOLE),
    "Limited": {"type": "object", "properties": {
        "queue": TEXT, "job": TEXT, "rate_limit": maybe(TEXT), "concurrency": maybe(WHOLE)},
        "additionalProperties": False},
    "Enqueued": record(id=UUID, job=TEXT),
    "Sent": record(sent=array(record(worker=TEXT, worker_id=UUID, command=WHOLE)),
                   unknown=array(TEXT)),
}  # fmt: skip

_ANY_PAGE = {"q": TEXT, "p": {"type": "integer", "minimum": 1}}
_JOB_FILTERS = {
    "status": ref("Status"), "queue": TEXT, "name": TEXT, "error": TEXT,
    "age": {"enum": ["hour", "day", "week", "over-week", "over-month", "over-quarter"]},
    "from": DAY, "to": DAY, "ended": {"type": "string", "pattern": "^[0-9]+-[0-9]+$"},
    "attempts": {"const": "more"}, "schedule": WHOLE, "worker": UUID, **_ANY_PAGE,
}  # fmt: skip
#: Address, what is read, its schema, and the filters.
PAGES: list[tuple[str, str, str, dict[str, Schema]]] = [
    ("/dashboard/", "The state of everything; a part is null for users who may not see its page",
     "Dashboard", {"window": {"enum": ["1h", "24h", "7d"]}}),
    ("/job/", "Jobs, the newest first, with the filters and the search of the list", "Jobs",
     _JOB_FILTERS),
    ("/job/{id}/change/", "A job with its attempts, logs, steps and workflow", "Job", {}),
    ("/function/", "The registered job functions", "Functions", {}),
    ("/function/{name}/", "A job function with its limits", "Function", {}),
    ("/queue/", "The queues", "Queues", {}),
    ("/queue/{name}/change/", "A queue", "Queue", {}),
    ("/worker/", "The workers", "Workers",
     {"state": {"enum": ["live", "lost", "stopped"]}, "pool": TEXT, **_ANY_PAGE}),
    ("/worker/{id}/change/", "A worker with its running jobs and its commands", "Worker", {}),
    ("/schedule/", "The schedules", "Schedules",
     {"enabled__exact": {"enum": [0, 1]}, "kind__exact": TEXT, "source__exact": TEXT, **_ANY_PAGE}),
    ("/schedule/busy-hours/", "The runs of all schedules in each hour of the next seven days",
     "BusyHours", {}),
    ("/schedule/{id}/change/", "A schedule with its arguments", "Schedule", {}),
]  # fmt: skip
_ANSWERS = {
    "job": "ChangedJobs", "queue": "ChangedQueues", "schedule": "ChangedSchedules",
    "worker": "Sent", "queue/clear": "Deleted", "queue/limit": "Limited",
    "function/limit": "Limited", "function/enqueue": "Enqueued",
}  # fmt: skip


def document() -> Schema:
    """Return the description; Django must be set up."""
    paths = {address: {"get": _page(*page)} for address, *page in PAGES}
    for model, actions in _actions().items():
        for name, action in actions.items():
            paths[f"/{model}/api/{name}"] = {"post": _action(model, name, action)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "django_jobs", "version": "1", "description": (
            "The pages of the admin as JSON, and their actions. A GET takes a token or the session "
            "of a browser, a POST only a token.")},
        "servers": [{"url": "/admin/django_jobs"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"Error": {"description": "Why not, and what to do.", "content": {
                "application/json": {"schema": ref("Error")}}}},
        },
    }  # fmt: skip


def _actions() -> dict[str, Any]:
    from django_jobs import admin

    mixins = {
        "job": admin.JobAdminMixin, "function": admin.FunctionAdminMixin,
        "queue": admin.QueueAdminMixin, "worker": admin.WorkerAdminMixin,
        "schedule": admin.ScheduleAdminMixin,
    }  # fmt: skip
    return {name: mixin.json_actions for name, mixin in mixins.items()}


def _page(summary: str, schema: str, filters: dict[str, Schema]) -> Schema:
    wanted = {"name": "format", "in": "query", "required": True, "schema": {"const": "json"}}
    query = [{"name": name, "in": "query", "schema": one} for name, one in filters.items()]
    return {"summary": summary, "parameters": [wanted, *query], "responses": _responses(schema)}


def _action(model: str, name: str, action: Any) -> Schema:
    fields = {field: field_schema(field, kinds) for field, kinds in action.fields.items()}
    body = {"type": "object", "properties": fields, "required": list(action.needed),
            "additionalProperties": False}  # fmt: skip
    if action.either:
        body["anyOf"] = [{"required": [field]} for field in action.either]
    answer = _ANSWERS.get(f"{model}/{name}") or _ANSWERS[model]
    return {
        "summary": action.summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses(answer),
    }


def _responses(schema: str) -> Schema:
    content = {"application/json": {"schema": ref(schema)}}
    return {
        "200": {"description": "Done.", "content": content},
        "default": {"$ref": "#/components/responses/Error"},
    }


def text() -> str:
    described = document()
    for address, page in described["paths"].items():
        names = [part[1:-1] for part in address.split("/") if part.startswith("{")]
        for name in names:
            schema = WHOLE if address.startswith("/schedule/") else UUID if name == "id" else TEXT
            one = {"name": name, "in": "path", "required": True, "schema": schema}
            page["get"]["parameters"].insert(0, one)
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    FILE.write_text(text())
