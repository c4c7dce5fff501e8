"""What happened lately, from :class:`Measurement` rows: never from the jobs, which may be millions.

:func:`statistics` answers for a window of :data:`WINDOWS`: a point per minute (ten minutes, hour),
what each job function and each queue did, all of it together. :func:`failures` groups what failed
within a week by job function and class of error. Each is two statements. Both know what workers
have written, which they do every 15 seconds; what is in the queues now is counted by ``counts``.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import ExpressionWrapper, F, Q, TextField
from django.utils import timezone

from ..conf import get_settings
from ..db import unix_time
from ..models import Measurement
from ..models.histogram import COUNTS, Tally, counted_as, edge, percentile
from .collector import MINUTE, Key

HOUR, DAY, WEEK = 3_600, 86_400, 604_800


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """The last so many seconds, in steps of so many."""

    name: str
    seconds: int
    step: int


WINDOWS = {
    window.name: window
    for window in (Window("1h", HOUR, 60), Window("24h", DAY, 600), Window("7d", WEEK, HOUR))
}


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds; all None when nothing was measured.

    The percentiles are interpolated in the buckets of
    :data:`~django_jobs.models.histogram.BOUNDS`, between the shortest and the longest.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    mean: float | None = None
    longest: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """One step of the window: attempts by how they ended, and how long they waited and ran."""

    starts_at: datetime.datetime
    succeeded: int
    failed: int
    retried: int
    revoked: int
    wait: Spread
    run: Spread


@dataclasses.dataclass(frozen=True, slots=True)
class Activity:
    """What a job function, a queue or (with no name) everything did in the window."""

    name: str
    #: Attempts that ran; jobs (``revoked``: jobs too) that ended so; attempts to be repeated.
    started: int
    succeeded: int
    failed: int
    retried: int
    revoked: int
    #: Jobs whose worker died while it had them.
    rescued: int
    #: Seconds of all attempts together.
    run_seconds: float
    wait: Spread
    run: Spread
    #: Jobs that succeeded or failed, by step: what a sparkline draws.
    ended_by_step: tuple[int, ...]

    @property
    def failed_share(self) -> float:
        """Failed ones of those that succeeded or failed, 0 … 1."""
        return self.failed / (self.succeeded + self.failed) if self.failed else 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Statistics:
    """A window's numbers. ``points`` has every step, the current and unfinished one last."""

    window: Window
    now: datetime.datetime
    points: tuple[Point, ...]
    #: Those that took the most time first.
    functions: tuple[Activity, ...]
    #: By name.
    queues: tuple[Activity, ...]
    total: Activity


@dataclasses.dataclass(frozen=True, slots=True)
class Failures:
    """Jobs of one job function that ended FAILURE with one class of error."""

    name: str
    error_class: str
    hour: int
    day: int
    week: int
    last_seen: datetime.datetime
    #: The latest of them; it may have been pruned.
    sample_id: UUID


def statistics(window: str = "1h", using: str = "") -> Statistics:
    """Return the numbers of the *window*, a name of :data:`WINDOWS`, from one database.

    *using* is its alias, by default that of the ``DATABASE`` setting.
    """
    using = using or get_settings().database
    if window not in WINDOWS:
        raise ValueError(f"The window must be one of {', '.join(WINDOWS)}, got {window!r}.")
    wanted = WINDOWS[window]
    now = unix_time(using)
    steps = wanted.seconds // wanted.step
    start = int(now) // wanted.step * wanted.step - (steps - 1) * wanted.step
    points = [_Sum() for _step in range(steps)]
    parts: defaultdict[Key, _Sum] = defaultdict(lambda: _Sum(steps))
    for starts_at, queue, name, *numbers in _rows(start, using):
        step = min((starts_at - start) // wanted.step, steps - 1)
        points[step].add(numbers)
        part = parts[queue, name]
        part.add(numbers)
        part.ended[step] += numbers[1] + numbers[2]
    functions: defaultdict[str, _Sum] = defaultdict(lambda: _Sum(steps))
    queues: defaultdict[str, _Sum] = defaultdict(lambda: _Sum(steps))
    total = _Sum(steps)
    for (queue, name), part in parts.items():
        numbers = part.numbers()
        for whole in (functions[name], queues[queue], total):
            whole.add(numbers)
            whole.ended = [*map(operator.add, whole.ended, part.ended)]
    busiest = sorted(functions.items(), key=lambda item: -item[1].run_seconds)
    return Statistics(
        wanted,
        moment(now),
        tuple(each.point(start + step * wanted.step) for step, each in enumerate(points)),
        tuple(each.activity(name) for name, each in busiest),
        tuple(each.activity(name) for name, each in sorted(queues.items())),
        total.activity(""),
    )


def failures(using: str = "") -> tuple[Failures, ...]:
    """Return what failed within a week, by job function and class of error; the latest first.

    Attempts that are repeated are not among them, nor are jobs that failed because one before them
    in a workflow did.
    """
    using = using or get_settings().database
    now = unix_time(using)
    rows = Measurement.objects.using(using).filter(
        seconds__gt=Measurement.TOTAL, starts_at__gte=int(now) - WEEK, failed__gt=0
    )
    groups: dict[tuple[str, str], list[Any]] = {}
    for starts_at, name, errors in rows.values_list("starts_at", "name", "errors"):
        for error_class, (count, last, sample) in errors.items():
            group = groups.setdefault((name, error_class), [0, 0, 0, 0, ""])
            group[0] += count if starts_at >= now - HOUR else 0
            group[1] += count if starts_at >= now - DAY else 0
            group[2] += count
            if last >= group[3]:
                group[3:] = last, sample
    latest = sorted(groups.items(), key=lambda item: -item[1][3])
    return tuple(
        Failures(*key, hour, day, week, moment(last), UUID(sample))
        for key, (hour, day, week, last, sample) in latest
    )


def totals(using: str = "") -> dict[Key, Tally]:
    """Return what was counted since the beginning, by queue and job function, in one statement.

    No number in it ever falls, whatever is rolled up or pruned meanwhile.
    """
    using = using or get_settings().database
    rows = Measurement.objects.using(using).filter(
        Q(seconds=Measurement.TOTAL) | Q(seconds=MINUTE, in_total=False)
    )
    found: dict[Key, Tally] = {}
    # The totals first: which classes of errors have a count of their own is settled there.
    for row in rows.order_by("seconds", "pk"):
        key = counted_as((row.queue, row.name), found)
        found.setdefault(key, Tally()).add(row.tally)
    return found


def moment(seconds: float) -> datetime.datetime:
    """Return Unix time as the project's datetimes are: aware, or local without USE_TZ."""
    aware = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return aware if settings.USE_TZ else timezone.make_naive(aware)


_SECONDS = ("wait_seconds", "run_seconds", "longest_run_seconds")
_EDGES = ("shortest_run_seconds", "shortest_wait_seconds", "longest_wait_seconds")
_HISTOGRAMS = ("waits", "runs")


def _rows(start: int, using: str) -> Iterator[tuple[Any, ...]]:
    rows = Measurement.objects.using(using).filter(
        seconds__gt=Measurement.TOTAL, starts_at__gte=start
    )
    texts = [ExpressionWrapper(F(name), TextField()) for name in _HISTOGRAMS]
    found = list(
        rows.values_list("starts_at", "queue", "name", *COUNTS, *_SECONDS, *_EDGES, *texts)
    )
    # As one text thousands of short ones are read several times as fast.
    read = iter(json.loads(f"[{','.join(text for row in found for text in row[-2:])}]"))
    return ((*row[:-2], waits, next(read)) for row, waits in zip(found, read, strict=False))


class _Sum:
    """Adds up the numbers of rows. A tally would do, but a week has thousands of rows."""

    __slots__ = (*COUNTS, *_SECONDS, *_EDGES, *_HISTOGRAMS, "ended")

    def __init__(self, steps: int = 1) -> None:
        self.sent = self.succeeded = self.failed = self.retried = self.revoked = self.rescued = 0
        self.wait_seconds = self.run_seconds = self.longest_run_seconds = 0.0
        self.shortest_run_seconds: float | None = None
        self.shortest_wait_seconds: float | None = None
        self.longest_wait_seconds: float | None = None
        # To be added up all at once.
        self.waits: list[list[int]] = []
        self.runs: list[list[int]] = []
        self.ended = [0] * steps

    def add(self, numbers: Iterable[Any]) -> None:
        (
            sent, succeeded, failed, retried, revoked, rescued, wait_seconds, run_seconds, longest,
            shortest_run, shortest_wait, longest_wait, waits, runs,
        ) = numbers  # fmt: skip
        self.sent += sent
        self.succeeded += succeeded
        self.failed += failed
        self.retried += retried
        self.revoked += revoked
        self.rescued += rescued
        self.wait_seconds += wait_seconds
        self.run_seconds += run_seconds
        self.longest_run_seconds = max(self.longest_run_seconds, longest)
        self.shortest_run_seconds = edge(min, self.shortest_run_seconds, shortest_run)
        self.shortest_wait_seconds = edge(min, self.shortest_wait_seconds, shortest_wait)
        self.longest_wait_seconds = edge(max, self.longest_wait_seconds, longest_wait)
        self.waits.append(waits)
        self.runs.append(runs)

    def numbers(self) -> list[Any]:
        own = [getattr(self, name) for name in (*COUNTS, *_SECONDS, *_EDGES)]
        return [*own, _added(self.waits), _added(self.runs)]

    def point(self, starts_at: int) -> Point:
        return Point(
            moment(starts_at),
            self.succeeded,
            self.failed,
            self.retried,
            self.revoked,
            self.wait,
            self.run,
        )

    def activity(self, name: str) -> Activity:
        return Activity(
            name,
            sum(map(sum, self.runs)),
            self.succeeded,
            self.failed,
            self.retried,
            self.revoked,
            self.rescued,
            self.run_seconds,
            self.wait,
            self.run,
            tuple(self.ended),
        )

    @property
    def wait(self) -> Spread:
        edges = self.shortest_wait_seconds, self.longest_wait_seconds
        return _spread(_added(self.waits), self.wait_seconds, *edges)

    @property
    def run(self) -> Spread:
        edges = self.shortest_run_seconds, self.longest_run_seconds
        return _spread(_added(self.runs), self.run_seconds, *edges)


def _added(histograms: list[list[int]]) -> list[int]:
    return [sum(bucket) for bucket in itertools.zip_longest(*histograms, fillvalue=0)]


def _spread(
    counts: list[int], seconds: float, shortest: float | None, longest: float | None
) -> Spread:
    number = sum(counts)
    if not number:
        return Spread()
    p50, p95, p99 = (percentile(counts, share, longest, shortest) for share in (0.5, 0.95, 0.99))
    return Spread(p50, p95, p99, seconds / number, longest)
