"""The ticks in each hour of a schedule's next days, by the clock of its zone."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Any

import pytest

from django_jobs.models import Schedule
from django_jobs.schedules.hours import existing_hours, ticks_by_hour

pytestmark = pytest.mark.once

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
SPRING, AUTUMN = datetime.date(2026, 3, 29), datetime.date(2026, 10, 25)
HALVES = {"kind": "interval", "interval_seconds": 1800.0}
OFTEN = {"kind": "interval", "interval_seconds": 0.5}
HOURLY = {"kind": "crontab", "crontab": "30 * * * *"}
NIGHTLY = {"kind": "crontab", "crontab": "30 2 * * *"}


def schedule(**fields: Any) -> Schedule:
    return Schedule(timezone="Europe/Berlin", **fields)


def midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), BERLIN).astimezone(datetime.UTC)


@pytest.mark.parametrize(
    ("fields", "day", "counts"),
    [
        (HALVES, SPRING, [2, 2, 0, 2]),
        (HALVES, AUTUMN, [2, 2, 4, 2]),
        (OFTEN, AUTUMN, [7200, 7200, 14400, 7200]),
        (HOURLY, SPRING, [1, 1, 0, 1]),
        (HOURLY, AUTUMN, [1, 1, 2, 1]),
        (NIGHTLY, SPRING, [0, 0, 0, 1]),
        (NIGHTLY, AUTUMN, [0, 0, 1, 0]),
    ],
)
def test_hours_are_those_of_the_clock(
    fields: dict[str, Any], day: datetime.date, counts: list[int]
) -> None:
    first = midnight(day)
    if fields["kind"] == "crontab":
        first += datetime.timedelta(minutes=30)
    if fields is NIGHTLY:
        first -= datetime.timedelta(hours=22)  # half past two on the day before
    found, days = ticks_by_hour(schedule(**fields), first, 3, 10_000)
    assert [found[day, hour] for hour in range(4)] == counts
    assert days == 3


def test_hour_that_the_clocks_skip_does_not_exist() -> None:
    assert set(range(24)) - existing_hours(SPRING, BERLIN) == {2}
    assert existing_hours(AUTUMN, BERLIN) == set(range(24))


def test_only_whole_days_that_were_computed_are_returned() -> None:
    every_minute = schedule(kind="crontab", crontab="* * * * *")
    found, days = ticks_by_hour(every_minute, midnight(AUTUMN), 7, 100)
    assert days == 2
    assert {day for day, _hour in found} == {AUTUMN, AUTUMN + datetime.timedelta(days=1)}
    assert sum(found.values()) == 49 * 60


def test_ticks_end_with_the_schedule() -> None:
    first = midnight(SPRING) + datetime.timedelta(minutes=10)
    ends = {"ends_at": first + datetime.timedelta(minutes=90)}
    for fields in (HALVES, {"kind": "crontab", "crontab": "10,40 * * * *"}):
        found, days = ticks_by_hour(schedule(**fields, **ends), first, 7, 1_000)
        assert (sum(found.values()), days) == (4, 7)
    found, _days = ticks_by_hour(schedule(**OFTEN, one_off=True), first, 7, 1_000)
    assert sum(found.values()) == 1
