"""How many ticks all schedules together have in each hour of the next days."""

from __future__ import annotations

import dataclasses
import datetime
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import QuerySet

from ..models import Schedule
from .cron_hours import microseconds_of, moment_of
from .ticks import Kind, stored, utc
from .timetables import Cron, Every, Label, Once, Part, Row, Solar, Timetable, Window

DAYS = 7
#: The most schedules that are counted: those that run next.
MOST_SCHEDULES = 10_000
# The most work: about a tenth of a second.
_MOST_STEPS = 200_000
_COLUMNS = (
    "kind", "interval_seconds", "crontab", "solar_event", "latitude", "longitude", "timezone",
    "one_off", "ends_at", "next_run_at",
)  # fmt: skip


class Ticks(NamedTuple):
    """The ticks of one schedule in one hour."""

    ticks: int
    pk: int
    name: str


@dataclasses.dataclass(slots=True)
class Hour:
    """A local hour; one that occurs twice is one."""

    day: datetime.date
    hour: int
    #: When it starts; the current hour starts now.
    starts_at: datetime.datetime
    ticks: int = 0
    schedules: int = 0
    #: The schedules with the most ticks.
    busiest: list[Ticks] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class BusyHours:
    hours: list[Hour]
    #: How many schedules are counted.
    counted: int
    #: How many were read and not counted, because their times differ too much from each other.
    left_out: int
    #: There are more than :data:`MOST_SCHEDULES`.
    capped: bool


def busy_hours(
    schedules: QuerySet[Schedule],
    now: datetime.datetime,
    zone: datetime.tzinfo,
    *,
    only: Label | None = None,
    named: int = 3,
) -> BusyHours:
    """Return the hours from *now* to the end of the sixth day after it, by the clock of *zone*.

    *named* of an hour's schedules are named. With *only*, that hour alone is counted. A missed
    tick, which beat fires late, is not counted, and the jitter is ignored. It takes one statement.
    """
    window = Window(now, zone, DAYS, only)
    starts = map(moment_of, window.starts)
    hours = [Hour(*label, start) for label, start in zip(window.labels, starts, strict=True)]
    groups, capped = _groups(schedules, window) if hours else ({}, False)
    counted = left_out = 0
    # If not all can be counted, those whose times most schedules share are.
    for timetable, rows in sorted(groups.items(), key=lambda group: -len(group[1])):
        if window.steps > _MOST_STEPS:
            left_out += len(rows)
            continue
        try:
            for part in timetable.parts(window, rows, named):
                _add(hours[part.hour], part, named)
        except (ValueError, ArithmeticError):  # beat disables such a row
            continue
        counted += len(rows)
    return BusyHours(hours, counted, left_out, capped)


def _groups(
    schedules: QuerySet[Schedule], window: Window
) -> tuple[dict[Timetable, list[Row]], bool]:
    """Return the schedules by their times, and whether there are more than are read."""
    planned = schedules.filter(enabled=True, next_run_at__lt=stored(moment_of(window.end)))
    next_ones = planned.order_by("next_run_at", "pk").values_list("pk", "name", *_COLUMNS)
    groups: dict[Timetable, list[Row]] = defaultdict(list)
    for number, (pk, name, *values) in enumerate(next_ones[: MOST_SCHEDULES + 1]):
        if number == MOST_SCHEDULES:
            return groups, True
        first = _moment(values[-1])
        groups[_timetable(values, first, window)].append(Row(pk, name, first))
    return groups, False


def _timetable(values: Iterable[Any], first: int, window: Window) -> Timetable:
    (
        kind, interval_seconds, crontab, event, latitude, longitude, timezone, one_off, ends_at, _,
    ) = values  # fmt: skip
    end = window.end
    if ends_at is not None:
        end = min(end, _moment(ends_at) + 1)
    if one_off or kind == Kind.CLOCKED:
        return Once(first)
    if kind == Kind.INTERVAL:
        interval = round((interval_seconds or 0) * 1_000_000)
        is_under_way = first - interval < window.start
        return Every(interval, None if is_under_way else window.hour_of(first), end)
    if kind == Kind.CRONTAB:
        return Cron(crontab, timezone, first, end)
    return Solar(event, latitude, longitude, first, end)


def _moment(value: datetime.datetime) -> int:
    moment = utc(value)
    assert moment is not None
    return microseconds_of(moment)


def _add(hour: Hour, part: Part, named: int) -> None:
    hour.ticks += part.ticks_of_each * part.schedules
    hour.schedules += part.schedules
    busiest = hour.busiest
    if len(busiest) < named or part.ticks_of_each > busiest[-1].ticks:
        busiest += [Ticks(part.ticks_of_each, row.pk, row.name) for row in part.rows]
        busiest.sort(key=lambda one: -one.ticks)
        del busiest[named:]
