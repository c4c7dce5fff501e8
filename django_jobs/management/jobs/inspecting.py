"""``jobs inspect``: it reads rows only, so it works without a live worker."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils import timezone
from django.utils.translation import gettext as _

from ...db.chunks import chunks
from ...display import json_rows
from ...display.attempt_numbers import attempt_line
from ...display.job_text import arguments_line, pretty, with_argument_texts
from ...display.times import duration, ran, relative
from ...limits.overrides import limits_of
from ...models import Job, Worker
from ...worker.worker_info import registered, settings_shown
from .claimed_jobs import held
from .listing import ARGUMENTS_WIDTH, LONGEST_ARGUMENTS
from .output import one_line, printable, write_json, write_table
from .queue_states import show_queues, takes
from .selection import live_workers


def inspect(out: OutputWrapper, *, what: str, **given: Any) -> None:
    """Print one subject."""
    _SUBJECTS[what](out, **given)


# --- jobs ---------------------------------------------------------------------------------------


def _active(out: OutputWrapper, **given: Any) -> None:
    _show_held(out, 0, _("No running jobs."), **given)


def _reserved(out: OutputWrapper, **given: Any) -> None:
    _show_held(out, 1, _("All claimed jobs have started."), **given)


def _show_held(
    out: OutputWrapper,
    part: int,
    nothing: str,
    *,
    using: str,
    as_json: bool,
    workers: Sequence[str],
    limit: int,
) -> None:
    rows: Any = Worker.objects.using(using)
    if workers:
        rows = rows.filter(pk__in=[worker.pk for worker in live_workers(using, workers)])
    ids = [pk for pk, _worker_id in held(using, rows)[part][:limit]]
    jobs: Any = Job.objects.using(using).running()
    found = {
        job.pk: job
        for chunk in chunks(ids)
        for job in with_argument_texts(jobs.filter(pk__in=chunk), LONGEST_ARGUMENTS)
    }
    shown = [found[pk] for pk in ids if pk in found]  # the others have just ended
    holders = list({job.worker_id for job in shown if job.worker_id})
    known = Worker.objects.using(using).values_list("pk", "name")
    names: dict[Any, str] = {
        pk: name for chunk in chunks(holders) for pk, name in known.filter(pk__in=chunk)
    }
    if as_json:
        write_json(
            out, [{**json_rows.listed(job), "worker": names.get(job.worker_id)} for job in shown]
        )
    elif shown:
        titles = ("WORKER", "ID", "JOB", "ARGUMENTS", "QUEUE", "ATTEMPT", "FOR")
        write_table(out, titles, [_held_cells(job, names) for job in shown])
    else:
        out.write(nothing)


def _held_cells(job: Job, names: Mapping[Any, str]) -> list[object]:
    return [
        names.get(job.worker_id) or _("gone"), job.pk, job.name,
        arguments_line(job, ARGUMENTS_WIDTH), job.queue, attempt_line(job), duration(ran(job)),
    ]  # fmt: skip


def _scheduled(out: OutputWrapper, *, using: str, as_json: bool, limit: int) -> None:
    jobs: Any = Job.objects.using(using).timed().order_by("run_at", "pk")
    rows = list(with_argument_texts(jobs, LONGEST_ARGUMENTS)[:limit])
    if as_json:
        write_json(out, [json_rows.listed(job) for job in rows])
    elif rows:
        cells = [
            (
                job.pk, job.status, job.name, arguments_line(job, ARGUMENTS_WIDTH), job.queue,
                attempt_line(job), relative(job.run_at),
            )
            for job in rows
        ]  # fmt: skip
        write_table(out, ("ID", "STATUS", "JOB", "ARGUMENTS", "QUEUE", "ATTEMPT", "WHEN"), cells)
    else:
        out.write(_("No scheduled jobs."))


# --- workers ------------------------------------------------------------------------------------


def _registered(out: OutputWrapper, *, using: str, as_json: bool, workers: Sequence[str]) -> None:
    rows = live_workers(using, workers)
    known = {
        worker.name: {
            name: sets if isinstance(sets, dict) else {}
            for name, sets in _section(worker, "registered").items()
        }
        for worker in _with_details(rows)
    }
    here = registered()
    names = sorted({name for functions in (known or {"": here}).values() for name in functions})
    limits = {
        name: [{"key": digest, "concurrency": row.concurrency, "rate_limit": row.rate_limit}
               for digest, row in found]
        for name, found in limits_of(names, using=using).items() if found
    }  # fmt: skip
    if as_json:
        write_json(out, {"workers": known, "here": here, "limits": limits})
        return
    if not known:
        out.write(_("No live worker. The job functions of this command's own code:"))
        known = {"": here}
    cells = [_function_cells(name, known, limits.get(name, [])) for name in names]
    write_table(out, ("JOB", "SETS", "LIMITED TO", "WORKERS"), cells)


def _function_cells(
    name: str, known: Mapping[str, Mapping[str, Any]], limits: Sequence[Mapping[str, Any]]
) -> list[str]:
    workers = [worker for worker, functions in known.items() if name in functions]
    limited = [
        f"{option} {limit[option]}" + (f" (#{limit['key']})" if limit["key"] else "")
        for limit in limits
        for option in ("concurrency", "rate_limit")
        if limit[option]
    ]
    every = _("all") if len(workers) == len(known) > 1 else ", ".join(workers)
    return [name, _options(known[workers[0]][name]), ", ".join(limited), every]


def _options(sets: Mapping[str, Any]) -> str:
    return ", ".join(f"{option} {value}" for option, value in sets.items())


def _conf(out: OutputWrapper, *, using: str, as_json: bool, workers: Sequence[str]) -> None:
    rows = live_workers(using, workers)
    known = {worker.name: _section(worker, "conf") for worker in _with_details(rows)}
    here = settings_shown()
    if as_json:
        write_json(out, {"workers": known, "here": here})
        return
    if not known:
        out.write(_("No live worker. The settings of this command:"))
        out.write(printable(pretty(here)))
    # The processes of a runworker have the same settings, which are printed once.
    alike: dict[str, list[str]] = defaultdict(list)
    for name, conf in known.items():
        alike[pretty(conf)].append(name)
    for text, names in alike.items():
        out.write(one_line(f"{', '.join(names)}:"))
        out.write(printable(text))


def _section(worker: Worker, name: str) -> dict[str, Any]:
    """Return a part of the details, which somebody may have edited."""
    found = worker.details.get(name)
    return found if isinstance(found, dict) else {}


def _with_details(workers: Sequence[Worker]) -> list[Worker]:
    if not workers:
        return []
    details = dict(
        Worker.objects.using(workers[0]._state.db)
        .filter(pk__in=[worker.pk for worker in workers])
        .values_list("pk", "details")
    )
    for worker in workers:
        worker.details = details.get(worker.pk, {})
    return list(workers)


def _stats(out: OutputWrapper, *, using: str, as_json: bool, workers: Sequence[str]) -> None:
    rows = live_workers(using, workers)
    # The number in the worker's row is as old as its last heartbeat.
    busy = Counter(worker_id for _pk, worker_id in held(using)[0])
    for row in rows:
        row.busy = busy[row.pk]
    if as_json:
        write_json(out, [json_rows.worker(row) for row in rows])
    elif rows:
        titles = ("WORKER", "PID", "POOL", "BUSY", "DONE", "UP", "MEMORY", "HEARTBEAT", "QUEUES")
        write_table(out, titles, [_stats_cells(row) for row in rows])
    else:
        out.write(_("No live worker."))


def _stats_cells(worker: Worker) -> list[object]:
    memory = f"{worker.memory_bytes / 2**20:.0f} MiB" if worker.memory_bytes else ""
    return [
        worker.name, worker.pid, worker.pool, f"{worker.busy}/{worker.slots}", worker.jobs_done,
        duration(timezone.now() - worker.started_at), memory, relative(worker.heartbeat_at),
        takes(worker),
    ]  # fmt: skip


def _ping(out: OutputWrapper, *, using: str, as_json: bool, workers: Sequence[str]) -> None:
    rows = live_workers(using, workers)
    if as_json:
        names = ("id", "name", "hostname", "pid", "heartbeat_at")
        write_json(out, [{name: getattr(row, name) for name in names} for row in rows])
    elif rows:
        cells = [(row.name, row.hostname, row.pid, relative(row.heartbeat_at)) for row in rows]
        write_table(out, ("WORKER", "HOST", "PID", "HEARTBEAT"), cells)
    if not rows:
        raise CommandError("No worker is alive. Start one with `manage.py runworker`.")


_SUBJECTS: dict[str, Callable[..., None]] = {
    "active": _active,
    "reserved": _reserved,
    "scheduled": _scheduled,
    "registered": _registered,
    "stats": _stats,
    "conf": _conf,
    "queues": show_queues,
    "ping": _ping,
}
