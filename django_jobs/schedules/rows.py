"""The job of a tick, as a validated row."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from .. import serialization
from ..conf import get_settings
from ..define import instrumentation, registry
from ..define.call_options import CallKeywords
from ..enqueue.rows import rows_of
from ..models import Schedule
from ..serialization import type_of
from ..status import Status
from ..values import NewJob
from .policies import jittered
from .ticks import stored

if TYPE_CHECKING:
    from ..api.job import JobFunction


def function_of(schedule: Schedule) -> JobFunction[..., Any, Any]:
    """Return the schedule's job function; raise ``UnknownJob`` when none has that name."""
    return registry.get(schedule.job_name)


def row_of(schedule: Schedule) -> NewJob:
    """Return the row that runs the schedule's job at once.

    Raises what enqueuing raises: ``UnknownJob``, ``TypeError`` for arguments that do not fit,
    ``ValueError``.
    """
    (row,) = rows_of(function_of(schedule), [schedule.arguments], _options(schedule))
    return row._replace(schedule_id=schedule.pk)


def row_of_tick(schedule: Schedule, tick: datetime.datetime, now: datetime.datetime) -> NewJob:
    """Return the row of one tick: its ``run_at`` is the tick, delayed by the jitter."""
    moment = jittered(schedule, tick)
    row = row_of(schedule)
    return row._replace(
        eta=stored(moment),
        status=Status.SCHEDULED.value if moment > now else Status.PENDING.value,
        headers=_with_tick_headers(schedule, row.headers),
    )


def _with_tick_headers(schedule: Schedule, text: str | None) -> str | None:
    if not instrumentation.instrumentations:
        return text
    headers = serialization.loads(text) if text else {}
    for tracer in instrumentation.instrumentations:
        headers = {**tracer.tick_headers(schedule), **headers}
    limit = get_settings().max_payload_bytes
    return serialization.dumps(headers, where="headers", max_bytes=limit) if headers else None


def _options(schedule: Schedule) -> CallKeywords:
    options: CallKeywords = {}
    if schedule.queue:
        options["queue"] = schedule.queue
    if schedule.priority is not None:
        options["priority"] = schedule.priority
    if schedule.expires_seconds is not None:
        options["expires"] = schedule.expires_seconds
    if schedule.headers is not None:
        if not isinstance(schedule.headers, dict):
            raise ValueError(f"headers must be a JSON object, got {type_of(schedule.headers)}.")
        options["headers"] = schedule.headers
    return options
