"""The cases that are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from . import far, herd, long, measure, pruning
from .arena import Arena, Pool
from .measure import Figures

#: The reference of cases whose lines are compared with the first one.
FIRST = "first"


@dataclasses.dataclass(frozen=True)
class Case:
    """A measurement, and its number of jobs per system."""

    name: str
    title: str
    measure: Callable[[Arena, int], Figures]
    #: The figure that is drawn, and whose ratios are printed.
    figure: str
    #: Jobs (for mix, idle and held: seconds) by system; "" means all others.
    amount: Mapping[str, int]
    systems: Sequence[str] = ("bare", "django_jobs", "celery")
    databases: Sequence[str] = ("postgresql", "mysql", "sqlite")
    #: The databases for which bare SQL is measured.
    limits: Sequence[str] = ("postgresql", "mysql", "sqlite")
    #: Numbers of worker processes; by default two, for SQLite one.
    workers: Sequence[int] = ()
    pools: Sequence[Pool] = (Pool(),)
    #: More figures whose ratios are printed, and what they are compared with.
    also: Sequence[str] = ()
    references: Sequence[str] = ("bare", "celery")
    #: Drawn as bars, even if there are samples.
    bars: bool = False
    #: Measured only on request, because it takes long.
    optional: bool = False
    #: Measured once, because it does not vary.
    once: bool = False

    @property
    def compared(self) -> Sequence[str]:
        return (self.figure, *self.also)


_POSTGRESQL = ("postgresql",)
_OURS = ("django_jobs",)
_PEERS = ("django_jobs", "celery")

CASES = [
    Case(
        "drain",
        "Drain: no-op jobs that were queued before, jobs/s",
        measure.drain,
        "per_second",
        {"bare": 100_000, "django_jobs": 50_000, "celery": 3_000},
    ),
    Case(
        "latency",
        "Latency to an idle worker, from the call to the body's first line",
        measure.latency,
        "p50_ms",
        {"": 300},
        # On the other databases, bare SQL polls at any interval.
        limits=_POSTGRESQL,
        also=("p99_ms",),
    ),
    Case(
        "latency_half",
        "Latency while the workers are busy half of the time (10 ms jobs)",
        measure.latency_half,
        "p50_ms",
        {"": 800},
        _PEERS,
        _POSTGRESQL,
        also=("p90_ms", "p99_ms"),
    ),
    Case(
        "small_batches",
        "Drain: jobs of 5 ms by many processes, jobs/s",
        measure.drain_small_batches,
        "per_second",
        {"django_jobs": 8_000, "celery": 3_000},
        _PEERS,
        _POSTGRESQL,
        workers=(8, 16),
    ),
    Case(
        "far",
        "Drain: jobs of 10 ms, with the server 25 ms away in each direction, jobs/s",
        far.far,
        "per_second",
        # Enough for the first claims, which find few jobs, not to count.
        {"": 600, "django_jobs": 3_000},
        _PEERS,
        _POSTGRESQL,
        also=("of_near",),
    ),
    Case(
        "herd",
        "Single jobs while 1, 8, 16 and 100 workers are idle on one host",
        herd.herd,
        "worker_cpu_us",
        {"": 150},
        _OURS,
        _POSTGRESQL,
        workers=(1, 8, 16, 100),
        references=(FIRST,),
        also=("server_cpu_us", "p50_ms"),
        once=True,
    ),
    Case(
        "connections",
        "Connections and memory of prefork processes whose jobs use no ORM",
        herd.connections,
        "connections",
        {"": 20},
        _OURS,
        _POSTGRESQL,
        workers=(2, 16, 100),
        references=(),
        once=True,
    ),
    Case(
        "delay", "delay() in a loop, autocommit, calls/s", measure.delay, "per_second", {"": 2_000}
    ),
    Case(
        "delay_many",
        "delay_many() in one call (Celery: a loop), jobs/s",
        measure.delay_many,
        "per_second",
        {"bare": 50_000, "django_jobs": 50_000, "celery": 3_000},
    ),
    Case(
        "round_trip",
        "delay().get(), from the call to the result",
        measure.round_trip,
        "p50_ms",
        {"": 300},
        limits=_POSTGRESQL,
    ),
    Case(
        "fan_out",
        "One job that enqueues others, until the last has begun, jobs/s",
        measure.fan_out,
        "per_second",
        {"django_jobs": 10_000, "celery": 3_000},
        _PEERS,
    ),
    Case(
        "chord",
        "Chord: from the call to the body's result",
        measure.chord,
        "p50_ms",
        {"": 1_000},
        _PEERS,
    ),
    Case(
        "chained_chords",
        "Chords of three in a chain: from the call to the result",
        measure.chained_chords,
        "p50_ms",
        {"": 9},
        _PEERS,
    ),
    Case(
        "chain",
        "Chain: from the call to the last link's result",
        measure.chain,
        "p50_ms",
        {"": 100},
        _PEERS,
    ),
    Case(
        "group",
        "Group: the call that enqueues it",
        measure.group,
        "p50_ms",
        {"": 10_000},
        _PEERS,
    ),
    Case(
        "drain_orm",
        "Drain: jobs with one SELECT and one UPDATE by the ORM, jobs/s",
        measure.drain_orm,
        "per_second",
        {"django_jobs": 2_000, "celery": 1_000},
        _PEERS,
        _POSTGRESQL,
    ),
    Case(
        "processes",
        "Drain by worker processes, jobs/s",
        measure.drain,
        "per_second",
        {"bare": 60_000, "django_jobs": 30_000},
        ("bare", "django_jobs"),
        _POSTGRESQL,
        workers=(1, 2, 3, 4),
    ),
    Case(
        "steps",
        "Drain: durable jobs of ten no-op steps, each of them a commit, jobs/s",
        measure.drain_ten_steps,
        "per_second",
        {"": 2_000},
        _OURS,
        _POSTGRESQL,
        references=(),
        also=("steps_per_second",),
    ),
    Case(
        "event",
        "From send_event() to the next line of the job that waits for it",
        measure.event,
        "p50_ms",
        {"": 200},
        _OURS,
        _POSTGRESQL,
        references=(),
    ),
    Case(
        "pools",
        "Drain by pool, in one process, jobs/s",
        measure.drain_pool,
        "worker_cpu_us",
        {"": 20_000},
        _OURS,
        _POSTGRESQL,
        workers=(1,),
        pools=(
            Pool("prefork"),
            Pool("threads"),
            Pool("asyncio"),
            Pool("solo"),
            Pool("asyncio", slots=2_000, seconds=0.1, jobs=20_000),
            Pool("threads", slots=256, seconds=0.01, jobs=10_000),
            Pool("gevent", slots=256, seconds=0.01, jobs=10_000),
            Pool("gevent", slots=500, seconds=1.0, jobs=500),
        ),
        references=(FIRST,),
    ),
    Case(
        "prune",
        "Deletion of ended jobs beside claims, rows/s",
        pruning.prune,
        "per_second",
        {"": 200_000},
        _OURS,
        _POSTGRESQL,
        references=(),
    ),
    Case(
        "mix",
        "Jobs of 1 ms among jobs of 100 ms and 5 s: how long they wait",
        measure.mix,
        "p95_ms",
        {"": 16},
        _PEERS,
        _POSTGRESQL,
    ),
    Case(
        "idle",
        "Workers with nothing to do",
        measure.idle,
        "cpu_percent",
        {"": 20},
        _PEERS,
        once=True,
    ),
    Case(
        "history",
        "Drain beside 5 million ended and 1 million scheduled rows, jobs/s",
        long.history,
        "per_second",
        {"": 30_000},
        _OURS,
        _POSTGRESQL,
        optional=True,
        once=True,
    ),
    Case(
        "held",
        "200 jobs/s for 10 minutes beside an open transaction",
        long.held_transaction,
        "claim_p99_ms",
        {"": 600},
        _OURS,
        _POSTGRESQL,
        optional=True,
        once=True,
    ),
]
