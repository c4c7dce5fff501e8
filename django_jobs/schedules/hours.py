"""How many ticks a schedule has in each hour of its next days, by the clock of its own zone."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator

from ..models import Schedule
from .ticks import Kind, upcoming, utc, zone_of

#: A local day, and an hour of it. An hour that occurs twice is one.
Hour = tuple[datetime.date, int]

# All zones differ from UTC by whole quarters of an hour.
_QUARTER = datetime.timedelta(minutes=15)


def ticks_by_hour(
    schedule: Schedule, first: datetime.datetime, days: int, most: int
) -> tuple[Counter[Hour], int]:
    """Return the number of ticks in each hour, and of how many days from that of *first* on.

    Only *most* ticks are computed, and at least two days; a day that they do not reach is left out.
    """
    zone = zone_of(schedule)
    day = first.astimezone(zone).date()
    found: Counter[Hour] = Counter()
    for number, (tick, ticks) in enumerate(_ticks(schedule, first, days)):
        local = tick.astimezone(zone)
        passed = (local.date() - day).days
        if passed >= days or (number >= most and passed > 1):
            return _first_days(found, day, min(passed, days)), min(passed, days)
        found[local.date(), local.hour] += ticks
    return found, days


def existing_hours(day: datetime.date, zone: datetime.tzinfo) -> frozenset[int]:
    """Return the hours of a local day that exist; one is missing where the clocks go forward."""
    start = datetime.datetime.combine(day, datetime.time(), zone).astimezone(datetime.UTC)
    quarters = (start + number * _QUARTER for number in range(-4, 26 * 4))
    local = (quarter.astimezone(zone) for quarter in quarters)
    return frozenset(each.hour for each in local if each.date() == day)


def _ticks(
    schedule: Schedule, first: datetime.datetime, days: int
) -> Iterator[tuple[datetime.datetime, int]]:
    """Yield moments and the number of ticks at them; those of an interval in a quarter at once."""
    if schedule.kind != Kind.INTERVAL or schedule.one_off:
        for tick in upcoming(schedule, first):
            yield tick, 1
        return
    interval = datetime.timedelta(seconds=schedule.interval_seconds or 0)
    end = utc(schedule.ends_at)
    start = first.astimezone(datetime.UTC).replace(second=0, microsecond=0)
    start -= datetime.timedelta(minutes=start.minute % 15)
    before = 0
    for number in range((days + 1) * 24 * 4):
        until = start + (number + 1) * _QUARTER
        if end is not None:
            until = min(until, end + datetime.timedelta(microseconds=1))
        # The ticks before *until*: the first one, and as many as intervals fit.
        count = max(0, -((first - until) // interval)) if until > first else 0
        if count > before:
            yield start + number * _QUARTER, count - before
            before = count


def _first_days(found: Counter[Hour], day: datetime.date, days: int) -> Counter[Hour]:
    last = day + datetime.timedelta(days=days)
    return Counter({hour: count for hour, count in found.items() if hour[0] < last})
