"""Adds up sums of measurements."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.utils import timezone

from ..models.histogram import COUNTS, edge, percentile
from .summaries import Activity, Period, Point, Previous, Spread

# The columns of a measurement, in the order of Accumulator.add(), after COUNTS.
SECONDS = ("wait_seconds", "run_seconds", "longest_run_seconds")
EDGES = ("shortest_run_seconds", "shortest_wait_seconds", "longest_wait_seconds")
HISTOGRAMS = ("waits", "runs")


class Accumulator:
    """Adds up the numbers of sums. It is a Tally in effect, but fast for hundreds of them."""

    __slots__ = (*COUNTS, *SECONDS, *EDGES, *HISTOGRAMS, "ended")

    def __init__(self, steps: int = 1) -> None:
        self.sent = self.succeeded = self.failed = self.retried = self.revoked = self.rescued = 0
        self.wait_seconds = self.run_seconds = self.longest_run_seconds = 0.0
        self.shortest_run_seconds: float | None = None
        self.shortest_wait_seconds: float | None = None
        self.longest_wait_seconds: float | None = None
        # Added up all at once, by added().
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

    def point(self, starts_at: int) -> Point:
        return Point(moment(starts_at), *self._outcomes, self.wait, self.run)

    def activity(self, name: str) -> Activity:
        started = sum(map(sum, self.runs))
        times = self.run_seconds, self.wait, self.run
        counts = tuple(added(self.runs))
        return Activity(
            name, started, *self._outcomes, self.rescued, *times, tuple(self.ended), counts
        )

    @property
    def _outcomes(self) -> tuple[int, int, int, int]:
        return self.succeeded, self.failed, self.retried, self.revoked

    @property
    def wait(self) -> Spread:
        edges = self.shortest_wait_seconds, self.longest_wait_seconds
        return _spread(added(self.waits), self.wait_seconds, *edges)

    @property
    def run(self) -> Spread:
        edges = self.shortest_run_seconds, self.longest_run_seconds
        return _spread(added(self.runs), self.run_seconds, *edges)


class Past:
    """Adds up the rows of a whole period, of which some are longer than its steps."""

    def __init__(self, start: int, period: Period) -> None:
        self._start, self._step = start, period.step
        self._steps = [Accumulator() for _step in range(period.seconds // period.step)]
        self._ended = [0.0] * len(self._steps)
        self._total = Accumulator()

    def add(self, starts_at: int, seconds: int, numbers: Sequence[Any]) -> None:
        """Add a row; its numbers are spread over the steps that it is as long as."""
        self._total.add(numbers)
        first, length = (starts_at - self._start) // self._step, max(1, seconds // self._step)
        for step in range(first, min(first + length, len(self._steps))):
            # The shares of its histograms are those of each step.
            self._steps[step].add(numbers)
            self._ended[step] += (numbers[1] + numbers[2]) / length

    def summary(self) -> Previous:
        return Previous(
            tuple(self._ended),
            tuple(each.wait.p95 for each in self._steps),
            tuple(each.run.p95 for each in self._steps),
            self._total.activity(""),
        )


def added(histograms: Iterable[Sequence[int]]) -> list[int]:
    """Return the sum of *histograms*, of which some lack the zeros at the end."""
    return [sum(bucket) for bucket in itertools.zip_longest(*histograms, fillvalue=0)]


def _spread(
    counts: list[int], seconds: float, shortest: float | None, longest: float | None
) -> Spread:
    number = sum(counts)
    if not number:
        return Spread()
    p50, p95, p99 = (percentile(counts, share, longest, shortest) for share in (0.5, 0.95, 0.99))
    return Spread(p50, p95, p99, seconds / number, longest)


def moment(seconds: float) -> datetime.datetime:
    """Return Unix time as the project's datetimes are: aware, or local without USE_TZ."""
    aware = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return aware if settings.USE_TZ else timezone.make_naive(aware)
