"""``jobs list``, ``jobs show`` and ``jobs stats``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...api.waiting_text import sentence
from ...display import json_rows
from ...display.attempt_logs import logs_of, shown_log
from ...display.attempt_numbers import attempt_line, retries_line
from ...display.job_text import (
    Payload,
    arguments_line,
    fair_key_line,
    pretty,
    short_class,
    shown_payload,
    with_argument_texts,
)
from ...display.json_rows import TIMES, counted
from ...display.step_text import steps_of
from ...display.times import duration, exact, moment_of, ran, relative, waited
from ...display.waiting import listed_reason, reason_of, with_reasons
from ...metrics.capped_count import capped_counts, ready_queues, status_counts
from ...metrics.open_jobs import oldest_ready
from ...metrics.snapshot import lacks_beat
from ...models import Attempt, AttemptLog, Job, Queue, Worker
from . import job_steps
from .job_filters import matching
from .output import one_line, printable, served, write_fields, write_json, write_table
from .selection import one

_COLUMNS = ("ID", "STATUS", "JOB", "ARGUMENTS", "QUEUE", "ATTEMPT", "WHEN", "WAIT", "RUN", "WHY")
ARGUMENTS_WIDTH = 50
# Longer arguments are left out of lists.
LONGEST_ARGUMENTS = 10_000


def list_jobs(out: OutputWrapper, *, using: str, as_json: bool, limit: int, **wanted: Any) -> None:
    """Print the newest jobs that match."""
    jobs = with_argument_texts(matching(using, **wanted), LONGEST_ARGUMENTS)
    rows = list(jobs.order_by("-pk")[:limit])
    with_reasons(rows)
    if as_json:
        write_json(out, [json_rows.listed(job) for job in rows])
    elif rows:
        write_table(out, _COLUMNS, [_cells(job) for job in rows])
    else:
        out.write(_("No jobs."))


def show_job(out: OutputWrapper, *, using: str, as_json: bool, job_id: str, with_log: bool) -> None:
    """Print everything about one job except its secrets; *with_log*: also its log lines."""
    job = one(job_id, using)
    payload = shown_payload(job)
    if as_json:
        write_json(out, json_rows.whole(job, payload))
        return
    attempts, logs = json_rows.attempts_of(job), logs_of(job)
    steps, steps_left_out = steps_of(job, payload)
    fields = _fields(job, payload, sum(len(log.log_lines) for log in logs))
    if reason := reason_of(job, payload):
        fields.insert(3, ("waits", sentence(reason)))
    write_fields(out, fields)
    job_steps.write_steps(out, steps, steps_left_out)
    rows: list[Attempt | AttemptLog] = [*attempts]
    if with_log:
        known = {attempt.claims for attempt in attempts}
        rows += [log for log in logs if log.claims not in known]
        rows.sort(key=lambda row: row.claims, reverse=True)
    logged_by = {log.claims: log for log in logs} if with_log else {}
    for row in rows:
        out.write(f"\n{_heading(row)}")
        if isinstance(row, Attempt):
            text = row.traceback or f"{row.error_class}: {row.error_message}"
            out.write(printable(payload.text(text)))
        if row.claims in logged_by:
            _write_log(out, logged_by[row.claims], payload)


def _write_log(out: OutputWrapper, log: AttemptLog, payload: Payload) -> None:
    shown = shown_log(log, payload.text)
    if shown.left_out:
        text = ngettext(
            "%(number)s earlier line was not kept.",
            "%(number)s earlier lines were not kept.",
            shown.left_out,
        )
        out.write(text % {"number": shown.left_out})
    for line in shown.lines:
        head = one_line(f"{line.time} {line.level} {line.logger}")
        out.write(f"{head}: {printable(line.text)}")


def _heading(row: Attempt | AttemptLog) -> str:
    values = {
        "number": row.attempt,
        "ended": exact(row.ended_at),
        "status": printable(row.status),
    }
    if not row.ended_at:
        return _("Attempt %(number)d, whose end is not recorded") % values
    if not row.started_at:
        return _("Attempt %(number)d, ended %(ended)s, then %(status)s") % values
    values["took"] = duration(row.ended_at - row.started_at)
    return _("Attempt %(number)d, ended %(ended)s after %(took)s, then %(status)s") % values


def show_stats(out: OutputWrapper, *, using: str, as_json: bool) -> None:
    """Print the jobs per status and queue, counted up to ten thousand, and the live workers."""
    statuses = {str(status): count for status, count in status_counts(using).items()}
    queues = _queues(using)
    live: Any = Worker.objects.using(using)
    workers = list(live.live().order_by("name"))
    if as_json:
        write_json(
            out,
            {
                "statuses": {status: counted(count) for status, count in statuses.items()},
                "queues": [{**queue, "ready": counted(queue["ready"])} for queue in queues],
                "workers": [json_rows.worker(worker) for worker in workers],
                "lacks_beat": lacks_beat(using),
            },
        )
        return
    write_table(out, ("STATUS", "JOBS"), list(statuses.items()))
    out.write("")
    if queues:
        cells = [
            (queue["name"], queue["ready"], relative(queue["oldest"]), relative(queue["paused_at"]))
            for queue in queues
        ]
        write_table(out, ("QUEUE", "READY", "OLDEST", "PAUSED"), cells)
        out.write("")
    if workers:
        titles = ("WORKER", "HOST", "PID", "POOL", "BUSY", "QUEUES", "HEARTBEAT")
        write_table(out, titles, [_worker_cells(worker) for worker in workers])
    if all(worker.pool == Worker.BEAT for worker in workers):
        out.write(_("No live worker."))


def _cells(job: Job) -> list[object]:
    reason = listed_reason(job)
    waits = sentence(reason) if reason else ""
    return [
        job.pk, job.status, job.name, arguments_line(job, ARGUMENTS_WIDTH), job.queue,
        attempt_line(job), relative(moment_of(job)), duration(waited(job)), duration(ran(job)),
        short_class(job.error_class) or waits,
    ]  # fmt: skip


def _fields(job: Job, payload: Payload, logged: int) -> list[tuple[str, object]]:
    times = [(name.removesuffix("_at"), getattr(job, name)) for name in TIMES]
    optional = [(name, getattr(payload, name)) for name in ("headers", "result", "progress")]
    error = ": ".join(part for part in (job.error_class, payload.message) if part)
    return [
        ("id", job.pk),
        ("job", job.name),
        ("status", job.status),
        ("queue", _("%(queue)s, priority %(priority)d") % {"queue": job.queue,
                                                           "priority": job.priority}),
        *([("key", fair_key_line(job, payload))] if job.fair_key is not None else []),
        ("retries", retries_line(job)),
        *((name, f"{exact(moment)} ({relative(moment)})") for name, moment in times if moment),
        *((name, duration(length)) for name, length in (("wait", waited(job)), ("run", ran(job)))
          if length is not None),
        ("args", pretty(payload.args)),
        ("kwargs", pretty(payload.kwargs)),
        *((name, pretty(value)) for name, value in optional if value is not None),
        *([("error", error)] if error else []),
        *([("log", _kept(logged))] if logged else []),
    ]  # fmt: skip


def _kept(lines: int) -> str:
    return ngettext("%d line, shown by --log", "%d lines, shown by --log", lines) % lines


def _queues(using: str) -> list[dict[str, Any]]:
    paused = dict(
        Queue.objects.using(using).exclude(paused_at=None).values_list("name", "paused_at")
    )
    jobs: Any = Job.objects.using(using)
    names = sorted({*ready_queues(using), *paused})
    waiting = {name: jobs.ready().filter(queue=name) for name in names}
    counts = capped_counts(waiting, using)
    oldest = oldest_ready(using, names)
    return [
        {
            "name": name,
            "ready": counts[name],
            "oldest": oldest.get(name),
            "paused_at": paused.get(name),
        }
        for name in names
    ]


def _worker_cells(worker: Worker) -> list[object]:
    return [
        worker.name, worker.hostname, worker.pid, worker.pool, f"{worker.busy}/{worker.slots}",
        _("none") if worker.pool == Worker.BEAT else served(worker.queues, worker.exclude_queues),
        relative(worker.heartbeat_at),
    ]  # fmt: skip
