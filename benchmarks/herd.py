"""Many workers on one host: what a single job costs while all are idle, and what they hold."""

from __future__ import annotations

import dataclasses
import time

from . import processes
from .arena import STALLED_SECONDS, Arena, Failed
from .measure import Figures, percentiles, waits_of

#: PostgreSQL may count the transactions of an idle connection this much later.
SETTLE_SECONDS = 11.0
_QUIET_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Counted:
    """The seconds of CPU and the transactions that were used until a moment."""

    at: float
    worker_cpu: float
    server_cpu: float
    transactions: int

    def since(self, other: Counted) -> tuple[float, ...]:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return tuple(new - old for new, old in zip(mine, theirs, strict=True))


def herd(arena: Arena, jobs: int) -> Figures:
    """Send single jobs to idle workers; return the cost of one, without that of being idle."""
    server = arena.contestant.server
    enqueuing = _transactions_of_a_call(arena)
    with arena.workers():
        wait_for_workers(arena)
        time.sleep(SETTLE_SECONDS)
        backends = server.process_ids()
        start = _count(arena, backends)
        time.sleep(_QUIET_SECONDS)
        quiet = _count(arena, backends)
        sent = arena.produce("paced", "single", jobs)["sent"]
        arena.wait_for(10 + len(sent))
        time.sleep(SETTLE_SECONDS)
        end = _count(arena, backends)
        arena.wait_until_recorded()
    worker, database, transactions = cost_of_one(start, quiet, end, len(sent))
    figures = {
        "worker_cpu_us": worker * 1e6,
        "transactions_a_job": transactions - enqueuing,
        **percentiles(waits_of(arena, "single", jobs, sent)),
    }
    return {**figures, "server_cpu_us": database * 1e6} if backends else figures


def cost_of_one(start: Counted, quiet: Counted, end: Counted, jobs: int) -> list[float]:
    """Return what one job cost after *quiet*, without the rate of the time before it."""
    idle_for, *idle = quiet.since(start)
    lasted, *used = end.since(quiet)
    return [
        (each - before / idle_for * lasted) / jobs for each, before in zip(used, idle, strict=True)
    ]


def _transactions_of_a_call(arena: Arena) -> float:
    """Return the transactions of one enqueuing call, measured without workers."""
    counted = []
    for jobs in (0, 50):
        before = _transactions(arena)
        arena.produce("delay", jobs)
        counted.append(_transactions(arena) - before)
    arena.contestant.server.reset()
    arena.notes.write_bytes(b"")
    return (counted[1] - counted[0]) / 50


def _count(arena: Arena, backends: list[int]) -> Counted:
    return Counted(
        time.monotonic(),
        processes.cpu_seconds(arena.process_ids()),
        processes.cpu_seconds(backends),
        _transactions(arena),
    )


def _transactions(arena: Arena) -> int:
    counted = arena.contestant.server.statements()
    if counted is None:
        raise Failed("this server does not count its transactions")
    return counted


def connections(arena: Arena, jobs: int) -> Figures:
    """Count the connections and the memory of workers, after *jobs* each that use no ORM."""
    contestant = arena.contestant
    server = contestant.server
    some = contestant.workers * jobs
    with arena.workers():
        wait_for_workers(arena)
        # Long enough that all of them take part.
        arena.produce("fill", "sleep", some, 0.1)
        arena.wait_for(10 + some)
        arena.wait_until_recorded()
        found = server.connections()
        if found is None:
            raise Failed("this server does not count its connections")
        pids = arena.process_ids()
        shares = [processes.memory_mb(pid)["pss_mb"] for pid in pids]
    return {
        "connections": found,
        "connections_a_process": found / contestant.workers,
        "pss_mb": sum(shares) / contestant.workers,
    }


def wait_for_workers(arena: Arena) -> None:
    """Wait until all workers have started."""
    contestant = arena.contestant
    deadline = time.monotonic() + STALLED_SECONDS
    while (begun := contestant.server.workers()) < contestant.workers:
        if time.monotonic() > deadline:
            raise Failed(f"{begun} of {contestant.workers} workers have started")
        time.sleep(0.1)
