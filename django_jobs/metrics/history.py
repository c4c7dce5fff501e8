"""Statistics of the past, from :class:`Measurement` rows.

They read no jobs, of which there may be millions. Workers write what they measured every 15
seconds. Each function takes one statement, and at times another one for the database's clock.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import ExpressionWrapper, F, Q, TextField

from ..conf import get_settings
from ..models import Mark, Measurement
from ..models.histogram import COUNTS, Tally, counted_as
from . import cache
from .accumulator import EDGES, HISTOGRAMS, SECONDS, Accumulator, Past, moment
from .collector import MINUTE, Series
from .summaries import DAY, HOUR, PERIODS, WEEK, Failures, Statistics

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
    parts: defaultdict[Series, Accumulator] = defaultdict(lambda: Accumulator(steps))
    only = {key: value for key, value in (("name", name), ("queue", queue)) if value}
    for starts_at, seconds, line, function, *numbers in _rows(start - wanted.seconds, using, only):
        if starts_at < start:
            past.add(starts_at, seconds, numbers)
            continue
        step = min((starts_at - start) // wanted.step, steps - 1)
        points[step].add(numbers)
        part = parts[line, function]
        part.add(numbers)
        part.ended[step] += numbers[1] + numbers[2]
    functions: defaultdict[str, Accumulator] = defaultdict(lambda: Accumulator(steps))
    queues: defaultdict[str, Accumulator] = defaultdict(lambda: Accumulator(steps))
    total = Accumulator(steps)
    for (line, function), part in parts.items():
        numbers = part.numbers()
        for whole in (functions[function], queues[line], total):
            whole.add(numbers)
            whole.ended = [*map(operator.add, whole.ended, part.ended)]
    busiest = sorted(functions.items(), key=lambda item: -item[1].run_seconds)
    return Statistics(
        wanted,
        moment(now),
        tuple(each.point(start + step * wanted.step) for step, each in enumerate(points)),
        tuple(each.activity(function) for function, each in busiest),
        tuple(each.activity(queue) for queue, each in sorted(queues.items())),
        total.activity(""),
        past.summary(),
    )


def marks(seconds: int, using: str) -> list[tuple[int, str]]:
    """Return the newest marks of the last *seconds*: Unix times and names, the oldest first."""
    start = int(cache.unix_time(using)) - seconds
    rows = Mark.objects.using(using).filter(at__gte=start).order_by("-at", "-pk")
    return list(rows.values_list("at", "name")[:_MOST_MARKS])[::-1]


def failures(using: str = "") -> tuple[Failures, ...]:
    """Return the failures of a week, by job function and class of error; the latest first.

    Attempts that are retried do not count, nor do jobs that failed because one before them in a
    workflow did. *using* is the database's alias, by default that of the ``DATABASE`` setting.
    """
    using = using or get_settings().database
    now = cache.unix_time(using)
    start = int(now) - WEEK
    rows = Measurement.objects.using(using).filter(
        seconds__gt=Measurement.TOTAL, starts_at__gte=start, failed__gt=0
    )
    text = ExpressionWrapper(F("errors"), TextField())
    found = list(rows.values_list("starts_at", "name", text))
    groups: defaultdict[tuple[str, str], _Group] = defaultdict(_Group)
    for (starts_at, name, _text), errors in zip(found, _parsed(found), strict=True):
        step = min((starts_at - start) // FAILURE_STEP, _FAILURE_STEPS - 1)
        for error_class, (count, last, sample) in errors.items():
            group = groups[name, error_class]
            group.by_step[step] += count
            group.first = min(group.first, starts_at)
            group.hour += count if starts_at >= now - HOUR else 0
            group.day += count if starts_at >= now - DAY else 0
            group.week += count
            if last >= group.last:
                group.last, group.sample = last, sample
    latest = sorted(groups.items(), key=lambda item: -item[1].last)
    return tuple(
        Failures(
            *key, each.hour, each.day, each.week, moment(each.first), moment(each.last),
            UUID(each.sample), tuple(each.by_step),
        )
        for key, each in latest
    )  # fmt: skip


@dataclasses.dataclass(slots=True)
class _Group:
    hour: int = 0
    day: int = 0
    week: int = 0
    #: Unix time at which the first row of measurements with one of them begins.
    first: float = math.inf
    #: Unix time of the latest failure, and the id of its job.
    last: float = 0
    sample: str = ""
    by_step: list[int] = dataclasses.field(default_factory=lambda: [0] * _FAILURE_STEPS)


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


def _rows(start: int, using: str, only: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    rows = Measurement.objects.using(using).filter(
        seconds__gt=Measurement.TOTAL, starts_at__gte=start, **only
    )
    keys = ("starts_at", "seconds", "queue", "name")
    texts = [ExpressionWrapper(F(column), TextField()) for column in HISTOGRAMS]
    found = list(rows.values_list(*keys, *COUNTS, *SECONDS, *EDGES, *texts))
    read = _parsed(found, len(HISTOGRAMS))
    return ((*row[:-2], waits, next(read)) for row, waits in zip(found, read, strict=False))


def _parsed(rows: Sequence[tuple[Any, ...]], texts: int = 1) -> Iterator[Any]:
    """Yield the values of the last *texts* columns of *rows*, which are JSON, row by row."""
    # One long JSON text is parsed several times as fast as thousands of short ones.
    joined = ",".join(text for row in rows for text in row[-texts:])
    return iter(json.loads(f"[{joined}]"))
