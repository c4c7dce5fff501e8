"""The parts of the statistics: periods, steps, activities and failures."""

from __future__ import annotations

import dataclasses
import datetime
from uuid import UUID

HOUR, DAY, WEEK = 3_600, 86_400, 604_800


@dataclasses.dataclass(frozen=True, slots=True)
class Period:
    """The last *seconds*, in steps of *step* seconds."""

    name: str
    seconds: int
    step: int


PERIODS = {
    period.name: period
    for period in (Period("1h", HOUR, 60), Period("24h", DAY, 600), Period("7d", WEEK, HOUR))
}


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds; all None if nothing was measured.

    The percentiles are interpolated within the buckets of
    :data:`~django_jobs.models.histogram.BOUNDS`, and lie between the shortest and the longest.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    mean: float | None = None
    longest: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """One step of the period: attempts by outcome, and how long they waited and ran."""

    starts_at: datetime.datetime
    succeeded: int
    failed: int
    retried: int
    revoked: int
    wait: Spread
    run: Spread


@dataclasses.dataclass(frozen=True, slots=True)
class Activity:
    """The numbers of a job function, a queue or (with an empty name) of all, in the period."""

    name: str
    #: Attempts that ran.
    started: int
    #: Jobs that ended so.
    succeeded: int
    failed: int
    #: Attempts that failed and are repeated.
    retried: int
    #: Jobs that ended so.
    revoked: int
    #: Attempts whose worker died.
    rescued: int
    #: Seconds of all attempts together.
    run_seconds: float
    wait: Spread
    run: Spread
    #: Jobs that succeeded or failed, for each step.
    ended_by_step: tuple[int, ...]
    #: Attempts by run time, for each bucket of :data:`~django_jobs.models.histogram.BOUNDS`.
    run_counts: tuple[int, ...] = ()

    @property
    def failed_share(self) -> float:
        """The share of failures among the jobs that succeeded or failed, from 0 to 1."""
        return self.failed / (self.succeeded + self.failed) if self.failed else 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Previous:
    """The period before, in as many steps. Its older measurements cover several steps each."""

    #: Jobs that succeeded or failed, for each step.
    ended: tuple[float, ...]
    #: The 95th percentiles of each step, in seconds.
    wait_p95: tuple[float | None, ...]
    run_p95: tuple[float | None, ...]
    total: Activity


@dataclasses.dataclass(frozen=True, slots=True)
class Statistics:
    """The numbers of a period. ``points`` has every step; the last one is not over."""

    period: Period
    now: datetime.datetime
    points: tuple[Point, ...]
    #: The busiest first, by ``run_seconds``.
    functions: tuple[Activity, ...]
    #: By name.
    queues: tuple[Activity, ...]
    total: Activity
    previous: Previous


@dataclasses.dataclass(frozen=True, slots=True)
class Failures:
    """Jobs of one job function that ended FAILURE with one class of error, by age."""

    name: str
    error_class: str
    hour: int
    day: int
    week: int
    #: The start of the minute, or of the longer period into which it was merged, that has the
    #: first of the week.
    first_seen: datetime.datetime
    last_seen: datetime.datetime
    #: The id of the latest. Its row may have been pruned.
    sample_id: UUID
    #: The jobs of each six hours of the week.
    by_step: tuple[int, ...] = ()
