"""The round numbers of a chart's axes: gridlines for values, and times below them."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from ..metrics.summaries import DAY, HOUR

#: A value and its text.
Line = tuple[float, str]

_MOST_LINES = 4
# The width of a text below a chart, such as "20 min", with a gap.
_TEXT_ROOM = 40
# No number is more than the double of the one before it. So a chart has three lines or four, if a
# number as small as a third of its greatest value is round.
_FACTORS = (1, 2, 2.5, 4, 5)
# Seconds from ten on, up to a month.
_LONG = (10, 15, 30, 60, 120, 240, 300, 600, 900, 1_800, HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR,
         12 * HOUR, *(DAY * 2**power for power in range(30)))  # fmt: skip
# The distance of the times below a chart, in seconds, by the length of its window.
_DISTANCES = {HOUR: 600, DAY: 4 * HOUR}


def counts(top: float) -> list[Line]:
    """Return the gridlines of a chart of whole numbers; the last one is at *top* or above."""
    return _lines(top, (step for step in _decimal(1) if step == int(step)), _count)


def seconds(top: float) -> list[Line]:
    """Return the gridlines of a chart of durations; the last one is at *top* or above."""
    short = itertools.takewhile(lambda step: step < _LONG[0], _decimal(0.001))
    return _lines(top, itertools.chain(short, _LONG), _length)


def times(moments: Sequence[datetime.datetime], window_seconds: int) -> list[tuple[int, str]]:
    """Return the indexes of the *moments* with a time below them, and these times.

    They are round in the current time zone: each ten minutes of an hour, four hours of a day, or
    every other midnight of a week.
    """
    distance = _DISTANCES.get(window_seconds, DAY)
    # Translators: a format of Django's filter "date".
    form = "H:i" if window_seconds <= DAY else _("D j")
    found, before = [], None
    for index, moment in enumerate(moments):
        local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
        since = local.replace(tzinfo=None) - datetime.datetime(2001, 1, 1)  # noqa: DTZ001 (local)
        period = int(since.total_seconds()) // distance
        if before is not None and period != before:
            found.append((index, date_format(local, form)))
        before = period
    return found if distance != DAY else found[len(found) % 2 == 0 :: 2]


def apart(texts: Iterable[Line]) -> list[Line]:
    """Return the *texts* without those whose places are too near to the one before."""
    found: list[Line] = []
    for place, text in texts:
        if not found or place - found[-1][0] >= _TEXT_ROOM:
            found.append((place, text))
    return found


def _lines(top: float, steps: Iterable[float], shown: Callable[[float], str]) -> list[Line]:
    step = next(step for step in steps if top / step <= _MOST_LINES)
    number = max(1, math.ceil(top / step - 1e-9))
    return [(step * place, shown(step * place)) for place in range(1, number + 1)]


def _decimal(first: float) -> Iterator[float]:
    for power in itertools.count():
        yield from (first * factor * 10**power for factor in _FACTORS)


def _count(value: float) -> str:
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= size:
            text = f"{value / (1_000 if unit == 'k' else size):.1f}".removesuffix(".0")
            return f"{text}{unit}"
    return number_format(round(value))


def _length(value: float) -> str:
    units = ((DAY, _("%d d")), (HOUR, _("%d h")), (60, _("%d min")), (1, _("%d s")))
    for size, text in units:
        if value >= size:
            # 90 min rather than 1 h, 2.5 s rather than 2 s.
            if value % size == 0:
                return text % (value // size)
            if size == 1:
                return _("%.1f s") % value
    return _("%d ms") % round(value * 1000)
