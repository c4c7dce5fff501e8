"""The options of ``runworker``, checked before anything starts."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Iterator, Mapping
from uuid import UUID

from ..api.job import JobFunction
from ..conf import get_settings
from ..define import registry
from ..moments import LONGEST_SECONDS
from .autoscale import Autoscale
from .roster import MOST

POOLS = ("prefork", "threads", "asyncio", "gevent", "solo")
# Jobs at a time in each process of these pools, and connections of a gevent pool.
_SLOTS = {"threads": 8, "asyncio": 100, "gevent": 100}
_CONNECTIONS = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Options of one ``runworker``; times are seconds."""

    pool: str = "prefork"
    #: The number of worker processes.
    processes: int = 1
    #: Jobs that one process runs at a time.
    slots: int = 1
    #: The jobs of one process that use a database at a time; None: all of them.
    connections: int | None = None
    #: The queues to serve; none means every queue.
    queues: tuple[str, ...] = ()
    exclude_queues: tuple[str, ...] = ()
    name: str = ""
    burst: bool = False
    #: A beat runs beside the workers and fires schedules.
    beat: bool = False
    max_jobs: int | None = None
    #: A process that has more resident memory (KiB) when a job ends is replaced.
    max_memory: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    #: The level at which the output of jobs is logged; None leaves stdout and stderr alone.
    redirect_stdout: str | None = None
    using: str = "default"
    grace_seconds: float = 30.0
    autoscale: Autoscale | None = None
    #: The worker claims no jobs until it is told to resume.
    quiet: bool = False
    #: Hard and soft limits that an operator gave job functions, by the functions' names.
    time_limits: Mapping[str, tuple[float | None, float | None]] = dataclasses.field(
        default_factory=dict
    )
    #: One id for all processes of a ``runworker``; None without a supervisor.
    supervisor_id: UUID | None = None
    #: The worker is a guest of a web process: it neither handles signals nor ends the process.
    embedded: bool = False

    @property
    def base_name(self) -> str:
        return self.name or socket.gethostname()

    def name_of(self, index: int) -> str:
        """Return the name of the process at *index*, which replaces ``%i`` or is appended."""
        name = self.base_name
        if self.embedded:
            return name
        return name.replace("%i", str(index)) if "%i" in name else f"{name}-{index}"

    def serves(self, queue: str) -> bool:
        """Return whether this worker takes jobs of *queue*."""
        if not queue.isprintable() or queue.startswith("#"):  # a notification for other programs
            return False
        return queue not in self.exclude_queues and (not self.queues or queue in self.queues)


def build(
    *,
    pool: str,
    processes: int | None,
    concurrency: int | None,
    connections: int | None = None,
    autoscale: Autoscale | None = None,
    **others: object,
) -> WorkerOptions:
    """Return the options; raise ``ValueError`` for ones that cannot work together.

    *concurrency* is the number of jobs at a time, in a prefork pool over all processes and in the
    other pools in each. The default is one process per CPU for prefork, 8 threads, 100 coroutines
    or greenlets. *connections* bounds the greenlets of a process that use a database at a time.
    """
    if others.get("beat") and others.get("burst"):
        raise ValueError("--burst ends when the queues are empty and --beat never does: give one.")
    _check_numbers(pool, processes=processes, concurrency=concurrency, connections=connections)
    if autoscale is not None:
        _check_autoscale(pool, processes, concurrency, burst=bool(others.get("burst")))
        processes = autoscale.least
    if pool == "prefork":
        if processes and concurrency and processes != concurrency:
            raise ValueError(
                f"A prefork pool runs one job in each process: --processes {processes} and "
                f"--concurrency {concurrency} contradict each other. Give one of them."
            )
        processes, slots = processes or concurrency or os.cpu_count() or 1, 1
    elif pool == "solo":
        if (processes or 1) > 1 or (concurrency or 1) > 1:
            raise ValueError("A solo pool runs one job at a time in one process. Use prefork.")
        if others.get("beat"):
            raise ValueError("A solo pool is one process and a beat another: start runbeat beside.")
        processes, slots = 1, 1
    else:
        slots = concurrency or _SLOTS[pool]
        processes = processes or 1
    if pool == "gevent":
        connections = min(slots, connections or _CONNECTIONS)
    sizes = {"processes": processes, "slots": slots, "connections": connections}
    given = {"pool": pool, **sizes, "autoscale": autoscale, **others}
    return _within_the_roster(WorkerOptions(**given))  # type: ignore[arg-type]


def _within_the_roster(options: WorkerOptions) -> WorkerOptions:
    most = options.autoscale.most if options.autoscale else options.processes
    if most > MOST:
        raise ValueError(
            f"A runworker has at most {MOST} processes, got {most}. Start several of them."
        )
    return options


def _check_numbers(pool: str, **numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"--{name} must be at least 1, got {number}.")
    if numbers["connections"] is not None and pool != "gevent":
        raise ValueError(
            f"--connections bounds the connections of a gevent pool, and a {pool} pool has none to "
            "share. Leave it out, or use --pool gevent."
        )


def _check_autoscale(
    pool: str, processes: int | None, concurrency: int | None, *, burst: bool
) -> None:
    if pool == "solo":
        raise ValueError("A solo pool is one process. Use prefork for --autoscale.")
    if burst:
        raise ValueError(
            "--burst ends when the queues are empty: give --processes, not --autoscale."
        )
    if processes is not None:
        raise ValueError("--autoscale sets the number of processes: leave --processes out.")
    if pool == "prefork" and concurrency is not None:
        raise ValueError(
            "--autoscale sets the number of processes, and a prefork pool runs one job in each: "
            "leave --concurrency out."
        )


def refusals(options: WorkerOptions) -> Iterator[str]:
    """Yield an error for each option that this pool does not support."""
    yield from limit_refusals(options)
    for function in registry.every():
        if options.serves(_queue_of(function)):
            yield from _problems(options, function)


def limit_refusals(options: WorkerOptions) -> Iterator[str]:
    """Yield an error for each time limit that is impossible, or impossible in this pool."""
    for flag, value in (
        ("--time-limit", options.time_limit),
        ("--soft-time-limit", options.soft_time_limit),
    ):
        if value is not None and not 0 < value <= LONGEST_SECONDS:
            yield f"{flag} must be seconds above 0, at most a century, got {value}."
    if options.time_limit and options.pool in ("threads", "solo"):
        yield f"--time-limit: {_WHY[options.pool]}"
    if options.soft_time_limit and options.pool == "threads":
        yield f"--soft-time-limit: {_WHY_SOFT}"
    if options.max_memory and options.pool == "solo":
        yield "--max-memory-per-child: the only process cannot be replaced. Use --pool prefork."


def problems_of(options: WorkerOptions, queue: str) -> Iterator[str]:
    """Yield an error for each job function of *queue* whose limits this pool cannot enforce."""
    for function in registry.every():
        if _queue_of(function) == queue:
            yield from _problems(options, function)


def _queue_of(function: JobFunction[..., object, object]) -> str:
    return function.options.queue or get_settings().default_queue


def _problems(options: WorkerOptions, function: JobFunction[..., object, object]) -> Iterator[str]:
    declared = function.options
    reason = unable(options.pool, function, declared.time_limit, declared.soft_time_limit)
    if reason:
        yield f"Job function {function.name}: {reason}"


_WHY = {
    "threads": "A hard time limit cannot stop a thread. Use --pool prefork.",
    "solo": "A hard time limit cannot stop the only process. Use --pool prefork.",
}
_WHY_SOFT = "A soft time limit cannot be raised in a thread. Use --pool prefork."
_WHY_BLOCKING = (
    "An asyncio pool runs plain functions in threads, where no time limit reaches them. "
    "Make it async def, or use --pool prefork."
)


_WHY_ASYNC = (
    "A gevent pool runs no async def functions, as its greenlets share one thread, in which only "
    "one event loop can run. Use --pool asyncio."
)


def unable(
    pool: str,
    function: JobFunction[..., object, object],
    time_limit: float | None,
    soft_time_limit: float | None,
) -> str | None:
    """Return why *pool* cannot run a job under its time limits, or None when it can."""
    if pool == "gevent" and function.is_async:
        return _WHY_ASYNC
    if pool in _WHY and time_limit:
        return _WHY[pool]
    if pool == "threads" and soft_time_limit and not function.is_async:
        return _WHY_SOFT
    if pool == "asyncio" and not function.is_async and (time_limit or soft_time_limit):
        return _WHY_BLOCKING
    return None
