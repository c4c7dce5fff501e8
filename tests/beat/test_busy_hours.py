"""The ticks of all schedules in each hour, held against the ticks one by one."""

from __future__ import annotations

import datetime
import zoneinfo
from collections import Counter, defaultdict
from typing import Any

import pytest

from django_jobs.models import Schedule
from django_jobs.schedules import busy_hours as module
from django_jobs.schedules.busy_hours import busy_hours
from django_jobs.schedules.ticks import stored, upcoming, utc

pytestmark = pytest.mark.django_db

BERLIN, LORD_HOWE = map(zoneinfo.ZoneInfo, ("Europe/Berlin", "Australia/Lord_Howe"))
KOLKATA, UTC = zoneinfo.ZoneInfo("Asia/Kolkata"), zoneinfo.ZoneInfo("UTC")
CRONTABS = (
    "7-59/20 * * * *", "0 * * * *", "30 2 * * *", "0,30 2,3 * * *", "15 2-4 * * sun", "@daily",
    "5-20/5 1 28-31 mar,oct 7", "50 23 * * mon-fri", "0 0 13 * 5", "59 1 1 4 *", "*/20 2 * * *",
)  # fmt: skip
INTERVALS = (900.0, 1_700.0, 3_600.0, 4_000.5, 86_400.0, 700_000.0)
SOLAR = {"kind": "solar", "solar_event": "sunrise", "latitude": 52.5, "longitude": 13.4}


def add(now: datetime.datetime, after: float, **fields: Any) -> Schedule:
    """Make a schedule that runs next *after* seconds after *now*."""
    number = Schedule.objects.count()
    first = now + datetime.timedelta(seconds=after)
    given = {"timezone": "Europe/Berlin", "kind": "interval", **fields}
    schedule = Schedule(name=f"s{number}", job_name="tests.jobs.add", **given)
    if ends := fields.get("ends_at"):
        schedule.ends_at = stored(ends)
    schedule.next_run_at = stored(first)
    schedule.save()
    return schedule


def many(now: datetime.datetime) -> None:
    day = datetime.timedelta(days=1)
    for crontab in CRONTABS:
        for number, zone in enumerate(("Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata")):
            fields = {"kind": "crontab", "crontab": crontab, "timezone": zone}
            add(now, (0, 61, -7_000)[number], **fields)
        add(now, 90_000, **fields, ends_at=now + 3 * day)
    for interval in INTERVALS:
        for after in (0.0, 0.3, interval / 3, 5_000, 100_000, -9_000):
            add(now, after, interval_seconds=interval)
        add(now, 50, interval_seconds=interval, ends_at=now + 2 * day)
        add(now, 99, interval_seconds=interval, one_off=True)
    add(now, 100, interval_seconds=0.7, ends_at=now + datetime.timedelta(hours=2))
    add(now, 7_300, kind="clocked")
    add(now, -60, kind="clocked")
    add(now, 5_000, **SOLAR)


def one_by_one(now: datetime.datetime, zone: datetime.tzinfo) -> dict[Any, Counter[int]]:
    found: dict[Any, Counter[int]] = defaultdict(Counter)
    last = now.astimezone(zone).date() + datetime.timedelta(days=7)
    for schedule in Schedule.objects.filter(enabled=True):
        for tick in upcoming(schedule, utc(schedule.next_run_at)):
            local = tick.astimezone(zone)
            if local.date() >= last:
                break
            if tick >= now and (schedule.ends_at is None or tick <= utc(schedule.ends_at)):
                found[local.date(), local.hour][schedule.pk] += 1
    return found


@pytest.mark.parametrize(
    ("start", "zone"),
    [
        ("2026-03-26 22:10", BERLIN),
        ("2026-03-27 01:00", KOLKATA),
        ("2026-04-03 10:07", LORD_HOWE),
        ("2026-10-02 04:00", LORD_HOWE),
        ("2026-10-24 23:50", BERLIN),
    ],
)
def test_hours_have_the_ticks_that_beat_fires(start: str, zone: zoneinfo.ZoneInfo) -> None:
    now = datetime.datetime.fromisoformat(start).replace(tzinfo=datetime.UTC)
    many(now)
    add(now, 60, interval_seconds=60.0, enabled=False)
    expected = one_by_one(now, zone)
    found = busy_hours(Schedule.objects.all(), now, zone, named=2)
    shown = {(hour.day, hour.hour): hour for hour in found.hours}
    assert len(shown) == len(found.hours)
    assert {label: hour.ticks for label, hour in shown.items() if hour.ticks} == {
        label: ticks.total() for label, ticks in expected.items()
    }
    assert {label: hour.schedules for label, hour in shown.items() if hour.ticks} == {
        label: len(ticks) for label, ticks in expected.items()
    }
    for label, ticks in expected.items():
        most = [number for _pk, number in ticks.most_common(2)]
        assert [one.ticks for one in shown[label].busiest] == most
        assert all(ticks[one.pk] == one.ticks for one in shown[label].busiest)
    assert (found.left_out, found.capped) == (0, False)


def test_one_hour_alone_is_what_it_is_among_all() -> None:
    now = datetime.datetime(2026, 10, 24, 23, 50, tzinfo=datetime.UTC)
    many(now)
    every = busy_hours(Schedule.objects.all(), now, BERLIN)
    for hour in (every.hours[0], every.hours[2], every.hours[30]):
        only = (hour.day, hour.hour)
        (alone,) = busy_hours(Schedule.objects.all(), now, BERLIN, only=only, named=500).hours
        assert (alone.ticks, alone.schedules) == (hour.ticks, hour.schedules)
        assert len(alone.busiest) == hour.schedules
        assert sum(one.ticks for one in alone.busiest) == hour.ticks
    past = now.date() - datetime.timedelta(days=1), 5
    assert busy_hours(Schedule.objects.all(), now, BERLIN, only=past).hours == []


def test_schedules_are_read_in_one_statement_and_equal_ones_are_counted_at_once(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
    for number in range(30):
        add(now, number, interval_seconds=60.0)
        add(now, 60, kind="crontab", crontab="* * * * *")
    # Less than two times need.
    monkeypatch.setattr(module, "_MOST_STEPS", 300 + 4_000 + 800)
    with django_assert_num_queries(1):
        found = busy_hours(Schedule.objects.all(), now, UTC)
    assert (found.counted, found.left_out) == (60, 0)
    assert {hour.ticks for hour in found.hours[1:]} == {60 * 60}


def test_what_differs_too_much_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
    for number in range(20):
        add(now, 1, interval_seconds=60.0 + number)
    for _ in range(3):
        add(now, 1, interval_seconds=10.0)
    monkeypatch.setattr(module, "_MOST_STEPS", 1_000)
    found = busy_hours(Schedule.objects.all(), now, UTC)
    assert found.counted + found.left_out == 23
    assert 3 < found.counted < 20
    assert found.hours[0].busiest[0].ticks == 360
    monkeypatch.setattr(module, "MOST_SCHEDULES", 5)
    found = busy_hours(Schedule.objects.all(), now, UTC)
    assert (found.counted + found.left_out, found.capped) == (5, True)


def test_row_that_beat_would_disable_does_not_count() -> None:
    now = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
    add(now, 60, kind="crontab", crontab="99 * * * *")
    add(now, 60, kind="crontab", crontab="0 * * * *", timezone="Mars/Olympus")
    add(now, 60, interval_seconds=None)
    add(now, 60, interval_seconds=3600.0)
    found = busy_hours(Schedule.objects.all(), now, UTC)
    assert (found.counted, found.left_out) == (1, 0)
    assert sum(hour.ticks for hour in found.hours) == 7 * 24 - 12
