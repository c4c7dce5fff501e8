"""The ticks of a schedule, computed without a database."""

from __future__ import annotations

import datetime
import itertools

import pytest

from django_jobs.define.schedule_spec import SOLAR_EVENTS, crontab, solar, timing
from django_jobs.models import Schedule
from django_jobs.schedules import solar_events
from django_jobs.schedules.policies import chosen, jittered
from django_jobs.schedules.ticks import due_ticks, first_tick, tick_after, upcoming

pytestmark = pytest.mark.once

UTC = datetime.UTC
NOW = datetime.datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
MINUTE, DAY = datetime.timedelta(minutes=1), datetime.timedelta(days=1)


def every_minute(**fields: object) -> Schedule:
    return Schedule(kind="crontab", crontab="* * * * *", timezone="UTC", **fields)


def test_due_ticks_after_a_long_stop_are_found_quickly():
    first = NOW - 400 * DAY
    due = due_ticks(every_minute(), first.replace(second=0), NOW, keep=3)
    assert due.ticks == [NOW.replace(second=0) - n * MINUTE for n in (2, 1, 0)]
    assert due.next == NOW.replace(second=0) + MINUTE
    assert due.count >= 1_000


def test_due_ticks_of_a_season_long_ago_keep_the_latest():
    january = Schedule(kind="crontab", crontab="* * * 1 *", timezone="UTC")
    first = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    due = due_ticks(january, first, NOW, keep=1)
    assert due.ticks == [datetime.datetime(2026, 1, 31, 23, 59, tzinfo=UTC)]
    assert due.next == datetime.datetime(2027, 1, 1, tzinfo=UTC)


def test_due_intervals_are_counted_without_walking():
    schedule = Schedule(kind="interval", interval_seconds=0.1)
    due = due_ticks(schedule, NOW - 3650 * DAY, NOW, keep=2)
    assert due.count == 3650 * 864_000 + 1
    assert due.ticks == [NOW - datetime.timedelta(seconds=0.1), NOW]


def test_due_ticks_end_with_the_schedule():
    schedule = every_minute(ends_at=NOW - 2 * MINUTE)
    due = due_ticks(schedule, NOW.replace(second=0) - 5 * MINUTE, NOW, keep=100)
    assert due.ticks[-1] == NOW.replace(second=0) - 2 * MINUTE
    assert due.next is None


def test_skipping_runs_the_latest_only_when_it_is_fresh():
    schedule = every_minute(missed="skip")
    due = due_ticks(schedule, NOW.replace(second=0) - 5 * MINUTE, NOW, keep=1)
    assert chosen(schedule, due, NOW) == [NOW.replace(second=0)]
    assert chosen(schedule, due, NOW + 2 * MINUTE) == []


def test_start_is_a_tick_itself():
    schedule = every_minute(starts_at=datetime.datetime(2027, 1, 1, tzinfo=UTC))
    assert first_tick(schedule, NOW) == datetime.datetime(2027, 1, 1, tzinfo=UTC)


def test_upcoming_of_a_one_off_is_one():
    assert list(upcoming(every_minute(one_off=True), NOW)) == [NOW]


def test_jitter_spreads_over_the_whole_span():
    schedule = every_minute(pk=1, jitter_seconds=100)
    offsets = [jittered(schedule, NOW + n * MINUTE) - (NOW + n * MINUTE) for n in range(200)]
    seconds = [offset.total_seconds() for offset in offsets]
    assert min(seconds) < 5
    assert 95 < max(seconds) < 100


def test_sun_rises_in_berlin_on_midsummer():
    before = datetime.datetime(2026, 6, 21, tzinfo=UTC)
    assert solar_events.next_after("sunrise", 52.52, 13.405, before).strftime("%H:%M") == "02:43"


@pytest.mark.parametrize("event", SOLAR_EVENTS)
@pytest.mark.parametrize(("latitude", "longitude"), [(52.5, 13.4), (-13.8, -171.8), (-44, -176.5)])
def test_each_event_comes_about_once_a_day(event, latitude, longitude):
    schedule = Schedule(
        kind="solar", solar_event=event, latitude=latitude, longitude=longitude, timezone="UTC"
    )
    start = first_tick(schedule, datetime.datetime(2026, 1, 1, tzinfo=UTC))
    ticks = list(itertools.islice(upcoming(schedule, start), 120))
    gaps = {round((b - a) / DAY, 1) for a, b in itertools.pairwise(ticks)}
    assert gaps == {1.0}


def test_pole_has_no_sunset_for_half_a_year():
    midsummer = datetime.datetime(2026, 6, 21, tzinfo=UTC)
    assert solar_events.next_after("sunset", 78.2, 15.6, midsummer).month == 8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"solar_event": "eclipse"}, "must be one of dawn_astronomical"),
        ({"latitude": 91}, "latitude must be from -90 to 90"),
        ({"longitude": None}, "longitude must be from -180 to 180"),
    ],
)
def test_unknown_solar_events_are_refused(fields, message):
    sound = {"kind": "solar", "solar_event": "noon", "latitude": 1, "longitude": 2}
    with pytest.raises(ValueError, match=message):
        tick_after(Schedule(**(sound | fields)), NOW)


@pytest.mark.parametrize(
    ("spelled", "expression"),
    [
        (crontab(), "* * * * *"),
        (crontab(hour=3, minute=0), "0 3 * * *"),
        (crontab("*/5", "8-18", day_of_week="mon-fri"), "*/5 8-18 * * mon-fri"),
        (crontab(0, 0, day_of_month=[1, 15], month_of_year="1,7"), "0 0 1,15 1,7 *"),
        (crontab("0 3 * * *", timezone="Asia/Kathmandu"), "0 3 * * *"),
        (crontab("@daily"), "@daily"),
    ],
)
def test_crontab_is_spelled_as_in_celery(spelled, expression):
    assert (spelled.kind, spelled.crontab) == ("crontab", expression)


def test_whole_crontab_takes_no_other_field():
    with pytest.raises(ValueError, match="Leave the other fields out"):
        crontab("0 3 * * *", hour=3)


def test_timing_of_each_spelling():
    assert timing(30).interval_seconds == 30
    assert timing(datetime.timedelta(hours=1)).interval_seconds == 3600
    assert timing("0 3 * * *").crontab == "0 3 * * *"
    assert timing(NOW).clocked_at == NOW
    assert timing(solar("sunset", 1, 2)).latitude == 1


@pytest.mark.parametrize("nonsense", [None, True, [], object()])
def test_invalid_timings_are_refused(nonsense):
    with pytest.raises(ValueError, match="A schedule must be seconds"):
        timing(nonsense)
