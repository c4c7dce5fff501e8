"""The ticks of a schedule. All moments are aware and in UTC; this module reads no clock."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import zoneinfo
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.utils import timezone

from ..models import Schedule
from ..models.schedule import TIMING, default_timezone
from ..suggest import did_you_mean
from . import crontab, solar_events

Kind = Schedule.Kind

#: The columns that define when an enabled schedule runs.
SPEC = tuple(name for name in TIMING if name != "enabled")

_INSTANT = datetime.timedelta(microseconds=1)
# After a long downtime, at most this many missed ticks are computed one by one.
_MOST_COMPUTED = 1_000


@dataclasses.dataclass(frozen=True, slots=True)
class Due:
    """The due ticks of a schedule: the latest ones, the number of all, and the next tick."""

    ticks: list[datetime.datetime]
    count: int
    next: datetime.datetime | None


def zone_of(schedule: Schedule) -> zoneinfo.ZoneInfo:
    """Return the schedule's time zone; raise ``ValueError`` for an unknown name.

    A row without a name has the zone of the setting ``TIME_ZONE``.
    """
    try:
        return zoneinfo.ZoneInfo(schedule.timezone or default_timezone())
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"timezone must be an IANA name such as 'Europe/Berlin', got {schedule.timezone!r}."
            f"{did_you_mean(schedule.timezone, zoneinfo.available_timezones())}"
        ) from None


def spec_of(schedule: Schedule) -> list[Any]:
    """Return the values of :data:`SPEC`, as read from the database."""
    return [getattr(schedule, name) for name in SPEC]


def fingerprint(spec: Iterable[Any]) -> str:
    """Return a digest of the values of :data:`SPEC`; equal times have equal digests."""
    values = [utc(value) if isinstance(value, datetime.datetime) else value for value in spec]
    text = json.dumps(values, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def first_tick(schedule: Schedule, now: datetime.datetime) -> datetime.datetime | None:
    """Return the first tick after *now* of a schedule that is new, changed or enabled again.

    An interval counts from ``starts_at`` if it is set, else from *now*. Raises ``ValueError`` for
    an invalid row.
    """
    start = utc(schedule.starts_at)
    if schedule.kind == Kind.CLOCKED:
        moment = utc(schedule.clocked_at)
        if moment is None:
            raise ValueError("clocked_at must be the time at which the schedule runs, got None.")
        return _before_end(schedule, moment if moment > now else None)
    if schedule.kind != Kind.INTERVAL:
        return tick_after(schedule, max(now, start - _INSTANT) if start else now)
    if start is None:
        return _before_end(schedule, now + _interval(schedule))
    passed = max(0, (now - start) // _interval(schedule) + 1)
    return _before_end(schedule, start + passed * _interval(schedule))


def tick_after(schedule: Schedule, tick: datetime.datetime) -> datetime.datetime | None:
    """Return the tick after *tick*, or None if it was the last."""
    if schedule.kind == Kind.INTERVAL:
        following: datetime.datetime | None = tick + _interval(schedule)
    elif schedule.kind == Kind.CRONTAB:
        following = crontab.next_after(schedule.crontab, zone_of(schedule), tick)
    elif schedule.kind == Kind.SOLAR:
        latitude, longitude = schedule.latitude, schedule.longitude
        for problem in solar_events.problems(schedule.solar_event, latitude, longitude):
            raise ValueError(problem)
        assert latitude is not None
        assert longitude is not None
        following = solar_events.next_after(schedule.solar_event, latitude, longitude, tick)
    elif schedule.kind == Kind.CLOCKED:
        return None
    else:
        raise ValueError(f"kind must be one of {', '.join(Kind.values)}, got {schedule.kind!r}.")
    return _before_end(schedule, following)


def due_ticks(
    schedule: Schedule, first: datetime.datetime, now: datetime.datetime, keep: int
) -> Due:
    """Return the ticks from *first* to *now*: at most *keep* of them, the latest.

    After a long downtime, the ``count`` is exact for intervals; otherwise it is the number of ticks
    that were computed.
    """
    if schedule.kind == Kind.INTERVAL:
        return _due_intervals(schedule, first, now, keep)
    kept: deque[datetime.datetime] = deque(maxlen=keep)
    count, tick = 0, _before_end(schedule, first)
    while tick is not None and tick <= now:
        kept.append(tick)
        count += 1
        following = tick_after(schedule, tick)
        if count == _MOST_COMPUTED:
            span = (tick - first) / count * keep
            following = _shortly_before(schedule, tick, now, keep, span) or following
        tick = following
    return Due(list(kept), count, tick)


def upcoming(schedule: Schedule, first: datetime.datetime | None) -> Iterator[datetime.datetime]:
    """Yield *first* and the ticks after it."""
    while first is not None:
        yield first
        if schedule.one_off:
            return
        first = tick_after(schedule, first)


def utc(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Convert a moment of a row to UTC; without USE_TZ, rows have naive local times."""
    if moment is None:
        return None
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return aware.astimezone(datetime.UTC)


def stored(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Convert an aware moment to the form that rows have."""
    if moment is None or settings.USE_TZ:
        return moment
    return timezone.make_naive(moment)


def _interval(schedule: Schedule) -> datetime.timedelta:
    seconds = schedule.interval_seconds
    if seconds is None or not 0.1 <= seconds <= 10 * 366 * 86_400:
        raise ValueError(f"The interval must be from 0.1 seconds to ten years, got {seconds}.")
    return datetime.timedelta(seconds=seconds)


def _before_end(schedule: Schedule, tick: datetime.datetime | None) -> datetime.datetime | None:
    end = utc(schedule.ends_at)
    return None if tick is None or (end is not None and tick > end) else tick


def _due_intervals(
    schedule: Schedule, first: datetime.datetime, now: datetime.datetime, keep: int
) -> Due:
    interval, end = _interval(schedule), utc(schedule.ends_at)
    until = now if end is None else min(now, end)
    count = max(0, (until - first) // interval + 1)
    numbers = range(max(0, count - keep), count)
    following = _before_end(schedule, first + count * interval)
    return Due([first + number * interval for number in numbers], count, following)


def _shortly_before(
    schedule: Schedule,
    low: datetime.datetime,
    now: datetime.datetime,
    keep: int,
    span: datetime.timedelta,
) -> datetime.datetime | None:
    """Return a tick between *low* and *now* from which at least *keep* ticks are due, or None.

    So a schedule of every minute is not computed minute by minute after a month without a beat.
    None means that all remaining ticks must be computed.
    """
    while (start := now - span) > low:
        first = tick = tick_after(schedule, start)
        number = 0
        while tick is not None and tick <= now and number < keep:
            number += 1
            tick = tick_after(schedule, tick)
        if number == keep:
            return first
        span *= 2
    return None
