"""Rows as JSON for programs: of the commands with ``--json``, and of the pages of the admin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..api.waiting_reason import WaitingReason
from ..define.sensitive import shown_schedule
from ..metrics.capped_count import CappedCount
from ..metrics.open_jobs import QueueState
from ..metrics.summaries import Activity, Statistics
from ..metrics.worker_states import WorkerState
from ..models import Attempt, AttemptLog, Job, Schedule, Worker
from ..workflows.graph import Workflow
from .attempt_logs import logs_of
from .failure_groups import FailureGroup
from .job_text import PAYLOAD, Payload, Unreadable, listed_arguments, shown_payload
from .step_text import ShownStep, steps_of
from .waiting import listed_reason, reason_of

#: The most attempts of a job.
MOST_ATTEMPTS = 50

TIMES = ("enqueued_at", "run_at", "ready_at", "started_at", "ended_at", "expires_at")
_SCHEDULE = (
    "id", "name", "description", "job_name", "kind", "interval_seconds", "crontab", "clocked_at",
    "solar_event", "latitude", "longitude", "timezone", "enabled", "source", "starts_at", "ends_at",
    "one_off", "next_run_at", "last_run_at", "last_job_id", "run_count", "skipped_count",
)  # fmt: skip
_WORKER = (
    "id", "name", "hostname", "pid", "pool", "slots", "busy", "jobs_done", "memory_bytes", "queues",
    "exclude_queues", "quiet", "version", "supervisor_id", "started_at", "heartbeat_at",
    "lease_until",
)  # fmt: skip
_ACTIVITY = ("started", "succeeded", "failed", "retried", "revoked", "rescued", "run_seconds")
_POINT = ("starts_at", "succeeded", "failed", "retried", "revoked")


def counted(count: CappedCount) -> dict[str, Any]:
    return {"count": int(count), "capped": count.capped}


# --- jobs ---------------------------------------------------------------------------------------


def listed(job: Job) -> dict[str, Any]:
    """Return a row of ``with_argument_texts()``: the arguments are null where they are long.

    ``waiting`` is known after ``with_reasons()``.
    """
    args, kwargs = listed_arguments(job)
    shown = {"args": plain(args), "kwargs": plain(kwargs)}
    waiting = _waiting(listed_reason(job))
    return {**_columns(job), **waiting, **shown, "error_class": job.error_class}


def whole(job: Job, payload: Payload | None = None) -> dict[str, Any]:
    """Return a job with its payload, its attempts, their logs and its steps, without secrets."""
    payload = shown_payload(job) if payload is None else payload
    steps, _left_out = steps_of(job, payload)
    error = {"error_class": job.error_class, "error_message": payload.message}
    shown = {name: plain(getattr(payload, name)) for name in PAYLOAD}
    return {
        **_columns(job),
        **_waiting(reason_of(job, payload)),
        **shown,
        **error,
        "attempts": [_attempt(attempt, payload) for attempt in attempts_of(job)],
        "logs": [_log(log, payload) for log in logs_of(job)],
        "steps": [_step(step) for step in steps],
    }


def attempts_of(job: Job) -> list[Attempt]:
    """Return the newest attempts of a job, the last one first."""
    rows = Attempt.objects.using(job._state.db).filter(job_id=job.pk)
    return list(rows.order_by("-id")[:MOST_ATTEMPTS])


def workflow(found: Workflow) -> dict[str, Any]:
    names = ("id", "name", "status", "group_id", "parents")
    return {
        "done": found.done,
        "total": found.total,
        "failed": found.failed,
        "statuses": found.counts,
        "nodes": [_picked(node, names) for node in found.nodes],
    }


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, Unreadable) else value


def _columns(job: Job) -> dict[str, Any]:
    return {
        **_picked(job, ("id", "name", "status", "queue", "priority", "attempt", "retries",
                        "crashes", "worker_id")),
        **_picked(job, TIMES),
    }  # fmt: skip


def _waiting(reason: WaitingReason | None) -> dict[str, Any]:
    return {"waiting": reason.as_json() if reason else None}


def _attempt(attempt: Attempt, payload: Payload) -> dict[str, Any]:
    names = ("attempt", "status", "worker_id", "started_at", "ended_at", "error_class")
    texts = {name: payload.text(getattr(attempt, name)) for name in ("error_message", "traceback")}
    return _picked(attempt, names) | texts


def _log(log: AttemptLog, payload: Payload) -> dict[str, Any]:
    names = ("attempt", "status", "worker_id", "started_at", "ended_at", "left_out")
    lines = [{**line._asdict(), "text": payload.text(line.text)} for line in log.read()]
    return _picked(log, names) | {"lines": lines}


def _step(step: ShownStep) -> dict[str, Any]:
    names = ("key", "position", "kind", "function", "state", "result", "tries", "began_at",
             "ended_at", "waits_until", "error_class", "error_message", "traceback")  # fmt: skip
    return _picked(step, names)


# --- queues, workers, schedules -----------------------------------------------------------------


def queue(state: QueueState, workers: Iterable[Worker | WorkerState]) -> dict[str, Any]:
    row = state.row
    return {
        "name": state.name,
        "ready": counted(state.ready),
        "running": state.running,
        "timed": state.timed,
        "slots": state.slots,
        "oldest": state.oldest,
        "concurrency": row.concurrency if row else None,
        "rate_limit": row.rate_limit if row else "",
        "target_seconds": row.target_seconds if row else None,
        "paused_at": row.paused_at if row else None,
        "paused_by": row.paused_by if row else "",
        "workers": [worker.name for worker in workers if worker.serves(state.name)],
    }


def worker(row: Worker) -> dict[str, Any]:
    return _picked(row, _WORKER)


def schedule(row: Schedule, *, with_payload: bool = False) -> dict[str, Any]:
    """Return a schedule without secrets; with its arguments only on demand."""
    shown = shown_schedule(row)
    values = {**_picked(row, _SCHEDULE), "last_error": shown.text(row.last_error)}
    return values | ({"args": shown.args, "kwargs": shown.kwargs} if with_payload else {})


# --- statistics ---------------------------------------------------------------------------------


def statistics(numbers: Statistics) -> dict[str, Any]:
    points = [
        {**_picked(point, _POINT), "wait": dataclasses.asdict(point.wait),
         "run": dataclasses.asdict(point.run)}
        for point in numbers.points
    ]  # fmt: skip
    return {
        "period": numbers.period.name,
        "step_seconds": numbers.period.step,
        "total": activity(numbers.total),
        "points": points,
    }


def activity(one: Activity) -> dict[str, Any]:
    spreads = {"wait": dataclasses.asdict(one.wait), "run": dataclasses.asdict(one.run)}
    return {**_picked(one, _ACTIVITY), **spreads, "ended_by_step": list(one.ended_by_step)}


def failure_group(group: FailureGroup) -> dict[str, Any]:
    return dataclasses.asdict(group)


def by_name(activities: Iterable[Activity]) -> Mapping[str, dict[str, Any]]:
    return {one.name: activity(one) for one in activities}


def _picked(row: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
