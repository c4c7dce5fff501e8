"""The measurements of the cases: each function measures one system once."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from . import processes
from .arena import ROOT, Arena, Failed, Pool
from .schedules import SCHEDULES, WARMING

#: The results of one measurement by name; lists are samples in milliseconds.
Figures = dict[str, Any]


def rate(figures: Figures, jobs: int, seconds: float) -> Figures:
    return {**figures, "per_second": jobs / seconds}


def percentiles(samples: Sequence[float]) -> Figures:
    """Return percentiles and the maximum of *samples* (ms), by nearest rank, and all of them."""
    ordered = sorted(samples)
    if not ordered:
        raise Failed("no job was measured")
    figures: Figures = {
        f"p{share}_ms": ordered[math.ceil(len(ordered) * share / 100) - 1]
        for share in (50, 90, 95, 99)
    }
    return {**figures, "max_ms": ordered[-1], "samples_ms": ordered}


# --- throughput ---------------------------------------------------------------------------------


def drain(arena: Arena, jobs: int) -> Figures:
    return _drain(arena, "note", jobs)


def drain_orm(arena: Arena, jobs: int) -> Figures:
    return _drain(arena, "use_orm", jobs)


def drain_sleeping(arena: Arena, jobs: int, seconds: float) -> Figures:
    """Drain jobs that wait; compare with the rate at which no process is ever without a job."""
    figures = _drain(arena, "sleep", jobs, seconds)
    ideal = arena.contestant.workers / seconds
    return {**figures, "of_ideal": figures["per_second"] / ideal}


def drain_small_batches(arena: Arena, jobs: int) -> Figures:
    return drain_sleeping(arena, jobs, 0.005)


def drain_steps(arena: Arena, jobs: int) -> Figures:
    """Drain jobs of three steps that do nothing; each step is a commit."""
    return _drain(arena, "steps", jobs)


def drain_ten_steps(arena: Arena, jobs: int) -> Figures:
    """Drain jobs of ten steps that do nothing, and count their commits a second."""
    figures = _drain(arena, "steps", jobs, 10)
    return {**figures, "steps_per_second": 10 * figures["per_second"]}


def drain_pool(arena: Arena, jobs: int) -> Figures:
    """Drain no-op jobs or jobs that wait; measure until the last one has ended (PostgreSQL)."""
    pool = arena.contestant.pool
    figures = _drain(arena, "sleep" if pool.seconds else "note", jobs, *_arguments(pool))
    lasted = arena.contestant.server.one(
        "SELECT extract(epoch FROM max(ended_at) - min(started_at)) FROM django_jobs_job"
    )
    return until_ended(figures, pool, jobs, float(lasted))


def _arguments(pool: Pool) -> list[float]:
    return [pool.seconds] if pool.seconds else []


def until_ended(figures: Figures, pool: Pool, jobs: int, lasted: float) -> Figures:
    """Return *figures* with the rate over the time from the first claim to the last end."""
    figures = {**figures, "per_second": jobs / lasted, "seconds": lasted}
    if pool.seconds:
        figures["of_ideal"] = jobs / lasted / (pool.slots / pool.seconds)
    return figures


def _drain(arena: Arena, function: str, jobs: int, *arguments: float) -> Figures:
    if arena.contestant.pool.name == "asyncio":
        function += "_async"
    arena.produce("fill", function, jobs, *arguments)
    with arena.workers(warm=False):
        # The start of the workers is not counted.
        arena.wait_for(1)
        first, used = arena.noted(), _used(arena)
        arena.wait_for(jobs)
        counted = jobs - first
        figures = {
            name: (value - used.get(name, 0.0)) / counted
            for name, value in _used(arena).items() if counted
        }  # fmt: skip
        arena.wait_until_recorded()
    begun = arena.runs().values()
    if len(begun) != jobs:
        raise Failed(f"{len(begun)} of {jobs} jobs ran")
    return rate(figures, jobs - 1, (max(begun) - min(begun)) / 1e9)


def _used(arena: Arena) -> Figures:
    """Return the CPU in µs that the workers, and the database for them, have used."""
    used = {"worker_cpu_us": processes.cpu_seconds(arena.process_ids()) * 1e6}
    server = processes.cpu_seconds(arena.contestant.server.process_ids()) * 1e6
    return {**used, "server_cpu_us": server} if server else used


def fan_out(arena: Arena, jobs: int) -> Figures:
    with arena.workers():
        arena.produce("fan_out", jobs)
        arena.wait_for(10 + 1 + jobs)
        arena.wait_until_recorded()
    begun = arena.runs()
    # The job that enqueues the others has the highest number.
    return rate({}, jobs, (max(begun.values()) - begun[jobs]) / 1e9)


# --- enqueuing ----------------------------------------------------------------------------------


def delay(arena: Arena, jobs: int) -> Figures:
    return rate({}, jobs, arena.produce("delay", jobs)["seconds"])


def delay_many(arena: Arena, jobs: int) -> Figures:
    return rate({}, jobs, arena.produce("delay_many", "note", jobs)["seconds"])


# --- latency ------------------------------------------------------------------------------------


def latency(arena: Arena, jobs: int) -> Figures:
    return percentiles(_waits(arena, "idle", jobs))


def latency_half(arena: Arena, jobs: int) -> Figures:
    return percentiles(_waits(arena, "half_load", jobs))


def event(arena: Arena, jobs: int) -> Figures:
    """Measure from the call of ``send_event()`` to the next line of the job that waits for it."""
    with arena.workers():
        sent = arena.produce("events", jobs)["sent"]
        arena.wait_for(10 + jobs)
        arena.wait_until_recorded()
    begun = arena.runs()
    return percentiles([(begun[number] - at) / 1e6 for number, at in enumerate(sent)])


def mix(arena: Arena, seconds: int) -> Figures:
    """Measure the wait of the jobs of 1 ms."""
    return percentiles(_waits(arena, "mix", seconds, only=(0.001,)))


def round_trip(arena: Arena, jobs: int) -> Figures:
    with arena.workers():
        seconds = arena.produce("round_trip", jobs)["round_trips"]
    return percentiles([each * 1000 for each in seconds])


def chord(arena: Arena, jobs: int) -> Figures:
    return _workflow(arena, "chord", jobs)


def chained_chords(arena: Arena, jobs: int) -> Figures:
    return _workflow(arena, "chained_chords", jobs)


def chain(arena: Arena, jobs: int) -> Figures:
    return _workflow(arena, "chain", jobs)


def group(arena: Arena, jobs: int) -> Figures:
    """Measure the duration of the call, without workers."""
    seconds = arena.produce("workflow", "group", jobs, "call")["seconds"]
    return percentiles([each * 1000 for each in seconds])


def _workflow(arena: Arena, name: str, jobs: int) -> Figures:
    with arena.workers():
        seconds = arena.produce("workflow", name, jobs, "whole")["seconds"]
        arena.wait_until_recorded()
    return percentiles([each * 1000 for each in seconds])


def _waits(
    arena: Arena, schedule: str, amount: int, only: tuple[float, ...] | None = None
) -> list[float]:
    """Return the milliseconds between sending each job and its first line."""
    with arena.workers():
        sent = arena.produce("paced", schedule, amount)["sent"]
        arena.wait_for(10 + len(sent))
        arena.wait_until_recorded()
    return waits_of(arena, schedule, amount, sent, only)


def waits_of(
    arena: Arena,
    schedule: str,
    amount: int,
    sent: Sequence[int],
    only: tuple[float, ...] | None = None,
) -> list[float]:
    """Return the milliseconds between sending each job, at *sent*, and its first line."""
    begun = arena.runs()
    return [
        (begun[number] - sent[number]) / 1e6
        for number, job in enumerate(SCHEDULES[schedule](amount))
        if number >= WARMING and (only is None or job.arguments == only)
    ]


# --- idle workers -------------------------------------------------------------------------------


def idle(arena: Arena, seconds: int) -> Figures:
    """Measure statements per second, CPU and memory of idle workers."""
    if not processes.AVAILABLE:
        raise Failed("CPU and memory of processes are read from /proc, which is not here")
    server = arena.contestant.server
    with arena.workers():
        # PostgreSQL may count the transactions of the start ten seconds late.
        time.sleep(12)
        pids = arena.process_ids()
        cpu, statements = processes.cpu_seconds(pids), server.statements()
        time.sleep(seconds)
        answered = server.statements()
        used = processes.cpu_seconds(pids) - cpu
        figures = {"cpu_percent": used / seconds * 100, **_memory(pids)}
    if statements is not None and answered is not None:
        figures["statements_per_second"] = (answered - statements) / seconds
    return figures


def _memory(pids: list[int]) -> Figures:
    """Return the memory of the biggest process, and its excess over a plain Django process."""
    biggest = max((processes.memory_mb(pid) for pid in pids), key=lambda each: each["rss_mb"])
    code = "import django, sys; django.setup(); print(flush=True); sys.stdin.read()"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code], env=environment, cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as plain:  # fmt: skip
        assert plain.stdout is not None
        plain.stdout.readline()
        django = processes.memory_mb(plain.pid)
        plain.communicate()
    return {**biggest, "above_django_mb": biggest["rss_mb"] - django["rss_mb"]}
