"""Statistics of the past, from :class:`Measurement` rows.

They read no jobs, of which there may be millions. Workers write what they measured every 15
seconds. Each function takes one statement, and at times another one for the database's clock.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q

from ..conf import get_settings
from ..models import Mark, Measurement
from ..models.histogram import Tally, counted_as
from . import cache
from .accumulator import Accumulator, Past, moment
from .collector import MINUTE, Series
from .summaries import DAY, HOUR, PERIODS, WEEK, Failures, Statistics
from .sums import errors, sums

#: Seconds of each number in :attr:`Failures.by_step`.
FAILURE_STEP = 6 * HOUR
# More lines would hide the charts.
_MOST_MARKS = 20
_FAILURE_STEPS = WEEK // FAILURE_STEP


def statistics(period: str = "1h", using: str = "", name: str = "", queue: str = "") -> Statistics:
    """Return the numbers of the last hour, day or week, from one database.

    *period* is "1h", "24h" or "7d", with a point per minute, ten minutes or hour. *using* is the
    database's alias, by default that of the ``DATABASE`` setting. With *name* or *queue*, the
    numbers are of that job function or queue only. Raises ``ValueError`` for another period.
    """
    using = using or get_settings().database
    if period not in PERIODS:
        raise ValueError(f"The period must be one of {', '.join(PERIODS)}, got {period!r}.")
    wanted = PERIODS[period]
    now = cache.unix_time(using)
    steps = wanted.seconds // wanted.step
    start = int(now) // wanted.step * wanted.step - (steps - 1) * wanted.step
    points = [Accumulator() for _step in range(steps)]
    past = Past(start - wanted.seconds, wanted)
    functions: defaultdict[str, Accumulator] = defaultdict(lambda: Accumulator(steps))
    queues: defaultdict[str, Accumulator] = defaultdict(lambda: Accumulator(steps))
    total = Accumulator(steps)
    only = {key: value for key, value in (("name", name), ("queue", queue)) if value}

    for each in sums(start - wanted.seconds, start, using, only):
        if each.series:
            line, function = each.series
            ended = _by_step(each.ended, start, wanted.step, steps)
            for whole in (functions[function], queues[line], total):
                whole.add(each.numbers)
                whole.ended = [*map(operator.add, whole.ended, ended)]
        elif each.starts_at < start:
            past.add(each.starts_at, each.seconds, each.numbers)
        else:
            points[min((each.starts_at - start) // wanted.step, steps - 1)].add(each.numbers)
    busiest = sorted(functions.items(), key=lambda item: (-item[1].run_seconds, item[0]))
    return Statistics(
        wanted,
        moment(now),
        tuple(each.point(start + place * wanted.step) for place, each in enumerate(points)),
        tuple(each.activity(function) for function, each in busiest),
        tuple(each.activity(queue) for queue, each in sorted(queues.items())),
        total.activity(""),
        past.summary(),
    )


def _by_step(counted: Iterable[tuple[int, int]], start: int, length: int, steps: int) -> list[int]:
    """Return the sums of the numbers at Unix times, for each of the *steps* from *start* on."""
    found = [0] * steps
    for at, number in counted:
        found[min((at - start) // length, steps - 1)] += number
    return found


def marks(seconds: int, using: str) -> list[tuple[int, str]]:
    """Return the newest marks of the last *seconds*: Unix times and names, the oldest first."""
    start = int(cache.unix_time(using)) - seconds
    rows = Mark.objects.using(using).filter(at__gte=start).order_by("-at", "-pk")
    return list(rows.values_list("at", "name")[:_MOST_MARKS])[::-1]


def failures(using: str = "", name: str = "") -> tuple[Failures, ...]:
    """Return the failures of a week, by job function and class of error; the latest first.

    Attempts that are retried do not count, nor do jobs that failed because one before them in a
    workflow did. *using* is the database's alias, by default that of the ``DATABASE`` setting. With
    *name*, the failures are of that job function only.
    """
    using = using or get_settings().database
    now = cache.unix_time(using)
    start = int(now) - WEEK
    told: list[Failures] = []
    for function, rows in errors(start, using, {"name": name} if name else {}):
        # Of one function at a time, so that Python's garbage collector finds few objects.
        classes: dict[str, _Failed] = {}
        for starts_at, found in rows:
            for error_class, (count, last, sample) in found.items():
                failed = classes.get(error_class)
                if failed is None:
                    failed = classes[error_class] = _Failed(start, now)
                failed.add(starts_at, count, last, sample)
        told += [failed.summary(function, each) for each, failed in classes.items()]
    return tuple(sorted(told, key=lambda one: one.last_seen, reverse=True))


class _Failed:
    """Adds up the failures of a job function with one class of error, from *start* on."""

    __slots__ = ("_by_step", "_day", "_first", "_hour", "_last", "_now", "_start")

    def __init__(self, start: int, now: float) -> None:
        self._start, self._now, self._first = start, now, math.inf
        self._hour = self._day = 0
        self._by_step = [0] * _FAILURE_STEPS
        self._last = (0, "")

    def add(self, starts_at: int, count: int, last: int, sample: str) -> None:
        """Add a row of measurements: its start, its failures, when the last was, and its job."""
        self._by_step[min((starts_at - self._start) // FAILURE_STEP, _FAILURE_STEPS - 1)] += count
        age = self._now - starts_at
        if age <= DAY:
            self._day += count
            if age <= HOUR:
                self._hour += count
        if starts_at < self._first:
            self._first = starts_at
        if last >= self._last[0]:
            self._last = max(self._last, (last, sample))

    def summary(self, name: str, error_class: str) -> Failures:
        last, sample = self._last
        week = sum(self._by_step)
        times = moment(self._first), moment(last)
        return Failures(
            name, error_class, self._hour, self._day, week, *times, UUID(sample),
            tuple(self._by_step),
        )  # fmt: skip


def error_classes(using: str) -> set[str]:
    """Return the classes of the errors of a week, as :func:`failures` has them."""
    groups = errors(int(cache.unix_time(using)) - WEEK, using)
    return {
        error_class for _name, rows in groups for _start, found in rows for error_class in found
    }


def totals(using: str = "") -> dict[Series, Tally]:
    """Return all counts since the first job, by queue and job function.

    The numbers never fall, as Prometheus wants counters to be; rows that are rolled up or pruned
    still count. *using* is the database's alias, by default that of the ``DATABASE`` setting.
    """
    using = using or get_settings().database
    rows = Measurement.objects.using(using).filter(
        Q(seconds=Measurement.TOTAL) | Q(seconds=MINUTE, in_total=False)
    )
    found: dict[Series, Tally] = {}
    # The totals first: they decide which classes of errors have a count of their own.
    for row in rows.order_by("seconds", "pk"):
        key = counted_as((row.queue, row.name), found)
        found.setdefault(key, Tally()).add(row.tally)
    return found
