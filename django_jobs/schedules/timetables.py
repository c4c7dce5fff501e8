"""The times of many equal schedules, counted by the hour at once.

Moments are microseconds since 1970, as in :mod:`.cron_hours`.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
import itertools
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..models import Schedule
from .cron_hours import QUARTER, LocalQuarters, fields_of, microseconds_of, moment_of
from .ticks import Kind, upcoming, zone_of

#: A local day, and an hour of it. An hour that occurs twice is one.
Label = tuple[datetime.date, int]

# A step is an hour of an interval, or a quarter of an hour of a crontab.
_STEPS_OF_A_ZONE = 4_000
_STEPS_OF_A_SOLAR_EVENT = 2_000


class Row(NamedTuple):
    pk: int
    name: str
    #: The next run.
    first: int


class Part(NamedTuple):
    """Schedules that have equally many ticks in an hour."""

    #: The index of the hour.
    hour: int
    ticks_of_each: int
    schedules: int
    #: Some of them.
    rows: Sequence[Row]


class Window:
    """The hours that are counted, by the clock of *zone*: all of *days*, or one of them."""

    def __init__(
        self, now: datetime.datetime, zone: datetime.tzinfo, days: int, only: Label | None
    ) -> None:
        self.labels: list[Label] = []
        self.starts: list[int] = []
        #: The steps that timetables have taken so far.
        self.steps = 0
        self._quarters: dict[str, LocalQuarters] = {}
        first = self.end = microseconds_of(now)
        end = now.astimezone(zone).date() + datetime.timedelta(days=days)
        # The quarters of an hour begin at the same time in all zones.
        for moment in itertools.count(first - first % QUARTER, QUARTER):
            local = moment_of(moment).astimezone(zone)
            label = (local.date(), local.hour)
            if label[0] >= end:
                break
            if only is not None and label != only:
                continue
            if not self.labels or label != self.labels[-1]:
                self.labels.append(label)
                self.starts.append(max(moment, first))
            self.end = moment + QUARTER
        self.start = self.starts[0] if self.starts else first
        self.ends = [*self.starts[1:], self.end]

    def hour_of(self, moment: int) -> int:
        # The first quarter of an hour may begin before now.
        return max(0, bisect_right(self.starts, moment) - 1)

    def quarters_of(self, timezone: str) -> LocalQuarters:
        if timezone not in self._quarters:
            zone = zone_of(Schedule(timezone=timezone))
            self._quarters[timezone] = LocalQuarters(zone, self.start, self.end)
            self.steps += _STEPS_OF_A_ZONE
        return self._quarters[timezone]


@dataclasses.dataclass(frozen=True, slots=True)
class Every:
    """The ticks of an interval before *end*."""

    interval: int
    #: The index of the hour with the first ticks, or None if the schedules have run before.
    begins: int | None
    end: int

    def parts(self, window: Window, rows: list[Row], named: int) -> Iterator[Part]:
        if self.interval <= 0:
            raise ValueError("An interval is longer than nothing.")
        if self.begins is None:
            yield from self._under_way(window, 0, rows, named)
            return
        # The next run is the first of its hour, and no interval before it counts.
        last = min(window.ends[self.begins], self.end) - 1
        found: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            found[(last - row.first) // self.interval + 1].append(row)
        for ticks, those in found.items():
            yield Part(self.begins, ticks, len(those), those[:named])
        yield from self._under_way(window, self.begins + 1, rows, named)

    def _under_way(self, window: Window, hour: int, rows: list[Row], named: int) -> Iterator[Part]:
        # In an hour, a schedule has as many ticks as whole intervals fit in, and one more if its
        # place within the interval is in the rest of the hour.
        interval = self.interval
        rows = sorted(rows, key=lambda row: row.first % interval)
        places = [row.first % interval for row in rows]
        circle, size = rows + rows, len(rows)
        for number in range(hour, len(window.starts)):
            begin, end = window.starts[number], min(window.ends[number], self.end)
            if begin >= end:
                break
            window.steps += 2
            least, rest = divmod(end - begin, interval)
            low = begin % interval
            before = bisect_left(places, low)
            more = bisect_left(places, low + rest) - before
            if low + rest > interval:
                more += bisect_left(places, low + rest - interval)
            if more:
                yield Part(number, least + 1, more, circle[before : before + min(more, named)])
            if least and more < size:
                others = before + more
                found = circle[others : others + min(size - more, named)]
                yield Part(number, least, size - more, found)


class _Listed(abc.ABC):
    """Times that are listed one by one, or by the quarter of an hour."""

    def parts(self, window: Window, rows: list[Row], named: int) -> Iterator[Part]:
        found: Counter[int] = Counter()
        for moment, ticks in self.ticks(window):
            found[window.hour_of(moment)] += ticks
            window.steps += 1
        for hour, ticks in found.items():
            yield Part(hour, ticks, len(rows), rows[:named])

    @abc.abstractmethod
    def ticks(self, window: Window) -> Iterator[tuple[int, int]]:
        """Yield times, and how many ticks there are at each, or in the quarter that begins then."""


@dataclasses.dataclass(frozen=True)
class Once(_Listed):
    first: int

    def ticks(self, window: Window) -> Iterator[tuple[int, int]]:
        if self.first >= window.start:
            yield self.first, 1


@dataclasses.dataclass(frozen=True)
class Cron(_Listed):
    """The next run of a crontab and its ticks after it, before *end*."""

    expression: str
    timezone: str
    first: int
    end: int

    def ticks(self, window: Window) -> Iterator[tuple[int, int]]:
        if self.first >= window.start:
            yield self.first, 1
        fields, after = fields_of(self.expression), max(self.first, window.start - 1)
        yield from window.quarters_of(self.timezone).ticks(fields, after, self.end - 1)


@dataclasses.dataclass(frozen=True)
class Solar(_Listed):
    """The ticks of a solar event from *first* to before *end*."""

    event: str
    latitude: float
    longitude: float
    first: int
    end: int

    def ticks(self, window: Window) -> Iterator[tuple[int, int]]:
        schedule = Schedule(
            kind=Kind.SOLAR, solar_event=self.event, latitude=self.latitude,
            longitude=self.longitude,
        )  # fmt: skip
        window.steps += _STEPS_OF_A_SOLAR_EVENT
        for tick in upcoming(schedule, moment_of(self.first)):
            moment = microseconds_of(tick)
            if moment >= self.end:
                return
            if moment >= window.start:
                yield moment, 1


Timetable = Every | Once | Cron | Solar
