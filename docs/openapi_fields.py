"""The schemas of the fields of a body: their kinds, from the tables of the actions, and bounds."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
_TYPES = {
    str: "string", int: "integer", float: "number", bool: "boolean", list: "array",
    dict: "object", type(None): "null",
}  # fmt: skip
_TEXT = {"type": "string", "pattern": r"^[^\x00]*$"}
_UUID = {"type": "string", "format": "uuid"}
_RATE = r"\s*\d+(\.\d+)?(/[smhd])?\s*"
_QUEUE = {"minLength": 1, "maxLength": 100, "pattern": r"^[^\s,@!#]([^,]*[^\s,])?$"}


def field_schema(name: str, kinds: tuple[type, ...]) -> Schema:
    """Return the schema of a field; Django must be set up."""
    return _of_kinds(kinds) | _bounds().get(name, {})


def _of_kinds(kinds: tuple[type, ...]) -> Schema:
    names = list(dict.fromkeys(_TYPES[kind] for kind in kinds))
    if len(names) == len(_TYPES):
        return {}
    if "number" in names and "integer" in names:
        names.remove("integer")
    return {"type": names[0] if len(names) == 1 else names}


def _bounds() -> dict[str, Schema]:
    from django_jobs.admin.http_api import jobs, queues, schedules, workers
    from django_jobs.define.option_problems import MAX_CONCURRENCY, MAX_PRIORITY
    from django_jobs.moments import LONGEST_SECONDS

    few = {"minimum": 1, "maximum": 1000}
    seconds = {"minimum": 0, "maximum": LONGEST_SECONDS}
    some_seconds = {"exclusiveMinimum": 0, "exclusiveMaximum": 1e9}
    return {
        "ids": _some(jobs.MOST_JOBS, _UUID),
        "workers": _some(workers.MOST_WORKERS, _TEXT),
        "schedules": _some(schedules.MOST_SCHEDULES, _TEXT),
        "queues": _some(queues.MOST_QUEUES, {"type": "string", **_QUEUE}),
        "queue": _QUEUE,
        "priority": {"minimum": -MAX_PRIORITY, "maximum": MAX_PRIORITY},
        "rate_limit": {"pattern": rf"^{_RATE}(,{_RATE})*$"},
        "concurrency": {"minimum": 1, "maximum": MAX_CONCURRENCY},
        "countdown": seconds, "expires": seconds, "number": few, "most": few, "least": few,
        "hard": some_seconds, "soft": some_seconds, "idle_seconds": some_seconds,
    }  # fmt: skip


def _some(most: int, item: Schema) -> Schema:
    return {"items": item, "minItems": 1, "maxItems": most}
