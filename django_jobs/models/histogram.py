"""Counts, sums and two histograms of a number of attempts, as one value."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from typing import Any

#: Upper bounds in seconds of a histogram's buckets; the last bucket, beyond them, has none.
BOUNDS = (
    0.02, 0.03, 0.045, 0.065, 0.1, 0.15, 0.225, 0.335, 0.5, 0.75, 1.1, 1.7, 2.5, 3.8, 5.75, 8.5,
    13.0, 20.0, 30.0, 45.0, 65.0, 100.0, 150.0, 225.0, 335.0,
)  # fmt: skip
BUCKETS = len(BOUNDS) + 1
#: Past so many classes of errors of one job function the others count as :data:`OTHERS`.
MOST_ERRORS = 50
OTHERS = "(others)"
#: Past so many functions of steps of one job function the others count as :data:`OTHERS`.
MOST_STEPS = 50
#: Past so many pairs of a queue and a job function the others count as :data:`OTHERS`: anybody who
#: may enqueue can name a queue, and each pair is some sixty series that never go.
MOST_KEYS = 1_000


def counted_as(key: tuple[str, str], known: Collection[tuple[str, str]]) -> tuple[str, str]:
    """Return the queue and the job function under which *key* counts beside the *known* ones."""
    if key in known or len(known) < MOST_KEYS:
        return key
    _queue, name = key
    functions = {each for _, each in known}
    return (OTHERS, name) if name in functions else (OTHERS, OTHERS)


@dataclasses.dataclass(slots=True)
class Errors:
    """How often a class of errors ended jobs, when it last did (Unix time), and one such job."""

    count: int = 0
    last: int = 0
    sample: str = ""

    def add(self, other: Errors) -> None:
        self.count += other.count
        if other.last >= self.last:
            self.last, self.sample = other.last, other.sample


@dataclasses.dataclass(slots=True)
class Steps:
    """The calls of one step's function: counts by outcome, and their total seconds."""

    done: int = 0
    #: The attempt failed with it, or the body caught the exception.
    failed: int = 0
    #: It raised, and is called again.
    retried: int = 0
    seconds: float = 0.0

    def add(self, other: Steps) -> None:
        self.done += other.done
        self.failed += other.failed
        self.retried += other.retried
        self.seconds += other.seconds


@dataclasses.dataclass(slots=True)
class Tally:
    """Counts of one job function in one queue; two of them can be added.

    ``sent`` counts jobs at their first attempt, or when they are revoked before any; the others
    count attempts by how they ended. Both histograms count attempts that ran, by the seconds they
    were ready before they started (``waits``) and the seconds they ran (``runs``).
    """

    sent: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    revoked: int = 0
    rescued: int = 0
    wait_seconds: float = 0.0
    run_seconds: float = 0.0
    longest_run_seconds: float = 0.0
    #: The edges of the histograms, where anything ran.
    shortest_run_seconds: float | None = None
    shortest_wait_seconds: float | None = None
    longest_wait_seconds: float | None = None
    waits: list[int] = dataclasses.field(default_factory=lambda: [0] * BUCKETS)
    runs: list[int] = dataclasses.field(default_factory=lambda: [0] * BUCKETS)
    errors: dict[str, Errors] = dataclasses.field(default_factory=dict)
    steps: dict[str, Steps] = dataclasses.field(default_factory=dict)

    @property
    def started(self) -> int:
        """How many attempts ran."""
        return sum(self.runs)

    def add(self, other: Tally) -> None:
        """Add what *other* counted."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wait_seconds += other.wait_seconds
        self.run_seconds += other.run_seconds
        self.longest_run_seconds = max(self.longest_run_seconds, other.longest_run_seconds)
        self._widen(
            other.shortest_run_seconds, other.shortest_wait_seconds, other.longest_wait_seconds
        )
        for mine, theirs in ((self.waits, other.waits), (self.runs, other.runs)):
            for bucket, count in enumerate(theirs):
                mine[bucket] += count
        for error_class, errors in other.errors.items():
            self.errors_of(error_class).add(errors)
        for function, steps in other.steps.items():
            self.steps_of(function).add(steps)

    def measure(self, waits: list[float], runs: list[float]) -> None:
        """Count attempts by how long each waited and ran, in seconds."""
        waits.sort()
        runs.sort()
        self.wait_seconds += sum(waits)
        self.run_seconds += sum(runs)
        self.longest_run_seconds = max(self.longest_run_seconds, runs[-1])
        self._widen(runs[0], waits[0], waits[-1])
        _fill(self.waits, waits)
        _fill(self.runs, runs)

    def _widen(
        self, run: float | None, shortest_wait: float | None, longest_wait: float | None
    ) -> None:
        self.shortest_run_seconds = edge(min, self.shortest_run_seconds, run)
        self.shortest_wait_seconds = edge(min, self.shortest_wait_seconds, shortest_wait)
        self.longest_wait_seconds = edge(max, self.longest_wait_seconds, longest_wait)

    def errors_of(self, error_class: str) -> Errors:
        if error_class not in self.errors and len(self.errors) >= MOST_ERRORS:
            error_class = OTHERS
        return self.errors.setdefault(error_class, Errors())

    def steps_of(self, function: str) -> Steps:
        if function not in self.steps and len(self.steps) >= MOST_STEPS:
            function = OTHERS
        return self.steps.setdefault(function, Steps())


def edge(
    choose: Callable[[float, float], float], one: float | None, other: float | None
) -> float | None:
    """Return what *choose* takes of two values, of which none may be known."""
    if one is None or other is None:
        return one if other is None else other
    return choose(one, other)


COUNTS = ("sent", "succeeded", "failed", "retried", "revoked", "rescued")


def _fill(counts: list[int], ordered: Sequence[float]) -> None:
    """Count *ordered* values into their buckets; a bucket at a time, as there are few."""
    done = 0
    while done < len(ordered):
        bucket = bisect_left(BOUNDS, ordered[done])
        upto = len(ordered)
        if bucket < len(BOUNDS):
            upto = bisect_right(ordered, BOUNDS[bucket], done)
        counts[bucket] += upto - done
        done = upto


def percentile(
    counts: Sequence[int],
    share: float,
    longest: float | None = None,
    shortest: float | None = None,
) -> float | None:
    """Return the seconds that *share* (0 … 1) of the counted stay below; None when none is counted.

    It is interpolated within its bucket, so it errs by less than that bucket's width. *shortest*
    and *longest* are the least and the greatest of them, where they are known: the first and the
    last bucket begin and end there. So the percentiles of what always takes as long are exact.
    """
    total = sum(counts)
    if not total:
        return None
    rank, below = share * total, 0
    for bucket, count in enumerate(counts):
        if count and below + count >= rank:
            low = BOUNDS[bucket - 1] if bucket else 0.0
            high = BOUNDS[bucket] if bucket < len(BOUNDS) else max(low, longest or low)
            if longest is not None:
                high = max(low, min(high, longest))
            if shortest is not None:
                low = min(high, max(low, shortest))
            # The sum may be greater by the last digit of a float.
            return min(high, low + (high - low) * max(0.0, rank - below) / count)
        below += count
    raise AssertionError("the last bucket holds the rest")


def packed(counts: Sequence[int]) -> list[int]:
    """Return *counts* without the zeros at the end, as a row keeps them."""
    size = len(counts)
    while size and not counts[size - 1]:
        size -= 1
    return list(counts[:size])


def unpacked(counts: Sequence[int]) -> list[int]:
    """Return every bucket of :func:`packed` counts."""
    return [*counts, *[0] * (BUCKETS - len(counts))]


def packed_errors(errors: dict[str, Errors]) -> dict[str, list[Any]]:
    """Return *errors* as JSON keeps them."""
    return {name: [each.count, each.last, each.sample] for name, each in errors.items()}


def packed_steps(steps: dict[str, Steps]) -> dict[str, list[Any]]:
    """Return *steps* as JSON keeps them."""
    return {name: list(dataclasses.astuple(each)) for name, each in steps.items()}
