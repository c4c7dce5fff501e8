"""The ticks of a crontab in each quarter of an hour, counted from its fields, not one by one.

Moments are microseconds since 1970 here: thousands of crontabs have millions of quarters.
"""

from __future__ import annotations

import datetime
import functools
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from croniter import croniter

from . import crontab

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_MINUTE = 60_000_000
#: All zones differ from UTC by whole quarters of an hour.
QUARTER = 15 * _MINUTE
_QUARTERS_OF_A_DAY = 24 * 4
# The number of values of the fields for minutes and hours.
_NUMBERS = (60, 24)


class Fields(NamedTuple):
    """The fields of a crontab."""

    #: The quarters of the days on which it runs, and the minutes of its ticks in each.
    quarters: tuple[tuple[int, tuple[int, ...]], ...]
    #: The fields for the day of the month, the month, and the day of the week.
    days: tuple[str, str, str]
    #: It runs at regular intervals; any other runs at fixed local times.
    wildcard: bool


class LocalQuarters:
    """The quarters from *start* to *end*, by the clock of *zone*."""

    def __init__(self, zone: datetime.tzinfo, start: int, end: int) -> None:
        # The quarters are numbered from the year 1 on. The clocks repeat some of them.
        self._moments: dict[int, list[int]] = defaultdict(list)
        # The quarters that the clocks skip, and the first one after them.
        self._gaps: list[tuple[range, int]] = []
        numbers: list[int] = []
        for moment in range(start - start % QUARTER, end, QUARTER):
            number = _number(moment_of(moment).astimezone(zone))
            if numbers and number > numbers[-1] + 1:
                self._gaps.append((range(numbers[-1] + 1, number), number))
            numbers.append(number)
            self._moments[number].append(moment)
        first, last = (number // _QUARTERS_OF_A_DAY for number in (min(numbers), max(numbers)))
        self._days = range(first, last + 1)

    def ticks(self, fields: Fields, after: int, until: int) -> Iterator[tuple[int, int]]:
        """Yield quarters, and the number of ticks in each that are after *after*, to *until*."""
        days = _matching_days(fields.days, self._days.start, self._days.stop - 1)
        moments_of = self._moments
        for day in days:
            for quarter, minutes in fields.quarters:
                for moment in moments_of.get(day * _QUARTERS_OF_A_DAY + quarter, ()):
                    if after < moment and moment + QUARTER <= until:
                        yield moment, len(minutes)
                    elif count := _within(moment, minutes, after, until):
                        yield moment, count
                    if not fields.wildcard:
                        break
        if not fields.wildcard:
            yield from self._ticks_after_gaps(fields, frozenset(days), after, until)

    def _ticks_after_gaps(
        self, fields: Fields, days: frozenset[int], after: int, until: int
    ) -> Iterator[tuple[int, int]]:
        """Yield the tick at the end of a gap that stands for all fixed times in it."""
        minutes_of = dict(fields.quarters)
        for skipped, following in self._gaps:
            runs = any(_minutes(minutes_of, days, number) for number in skipped)
            moment = self._moments[following][0]
            # A time of the crontab at the end of the gap is the same tick.
            is_there = following % 4 * 15 in _minutes(minutes_of, days, following)
            if runs and not is_there and after < moment <= until:
                yield moment, 1


@functools.lru_cache(maxsize=4096)
def fields_of(expression: str) -> Fields:
    """Return the fields of a crontab; raise ``ValueError`` if it is invalid."""
    fields = crontab.fields_of(expression)
    minutes, hours = _values(0, fields[0]), _values(1, fields[1])
    parts = [(part, tuple(each for each in minutes if each // 15 == part)) for part in range(4)]
    quarters = tuple((hour * 4 + part, found) for hour in hours for part, found in parts if found)
    day, month, weekday = fields[2:]
    return Fields(quarters, (day, month, weekday), crontab.is_wildcard(fields))


def moment_of(microseconds: int) -> datetime.datetime:
    return _EPOCH + microseconds * _MICROSECOND


def microseconds_of(moment: datetime.datetime) -> int:
    """Return the microseconds from 1970 to *moment*, which is aware."""
    return (moment - _EPOCH) // _MICROSECOND


@functools.lru_cache(maxsize=1024)
def _values(position: int, field: str) -> tuple[int, ...]:
    """Return the values of a field for minutes (0) or hours (1)."""
    alone = ["*"] * 5
    alone[position] = field
    found = croniter(" ".join(alone)).expanded[position]
    return tuple(range(_NUMBERS[position])) if "*" in found else tuple(sorted(map(int, found)))


@functools.lru_cache(maxsize=1024)
def _matching_days(fields: tuple[str, str, str], first: int, last: int) -> tuple[int, ...]:
    """Return the days from *first* to *last*, as ordinals, that the fields have."""
    table = crontab.parse(" ".join(("0", "0", *fields)))
    midnight = datetime.datetime.combine(datetime.date.fromordinal(first), datetime.time())
    local: datetime.datetime | None = midnight - datetime.timedelta(minutes=1)
    found: list[int] = []
    while local is not None and (local := table.next_local(local)) is not None:
        if local.toordinal() > last:
            break
        found.append(local.toordinal())
    return tuple(found)


def _number(local: datetime.datetime) -> int:
    return local.toordinal() * _QUARTERS_OF_A_DAY + local.hour * 4 + local.minute // 15


def _minutes(
    minutes_of: dict[int, tuple[int, ...]], days: frozenset[int], number: int
) -> tuple[int, ...]:
    day, quarter = divmod(number, _QUARTERS_OF_A_DAY)
    return minutes_of.get(quarter, ()) if day in days else ()


def _within(moment: int, minutes: tuple[int, ...], after: int, until: int) -> int:
    return sum(after < moment + minute % 15 * _MINUTE <= until for minute in minutes)
