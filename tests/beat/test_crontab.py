"""The times of crontabs: compared with the oracle, and hand-picked cases."""

from __future__ import annotations

import datetime
import random
from zoneinfo import ZoneInfo

import pytest

from django_jobs.schedules.crontab import next_after, parse
from tests.beat import oracle

pytestmark = pytest.mark.once

UTC = datetime.UTC


def local_ticks(expression: str, zone: str, start: str, number: int) -> list[str]:
    """The next ticks after *start*, a local time, as the clock shows them, with the offset."""
    where = ZoneInfo(zone)
    moment = datetime.datetime.fromisoformat(start).replace(tzinfo=where)
    found = []
    for _ in range(number):
        moment = next_after(expression, where, moment)
        assert moment is not None
        found.append(moment.astimezone(where).strftime("%d %H:%M%z"))
    return found


def test_oracle_agrees_on_a_sample():
    """The whole comparison is ``make torture``: a million ticks."""
    chance = random.Random(7)
    ticks = 0
    for expression in oracle.expressions(120):
        ticks += compare(expression, ZoneInfo(chance.choice(oracle.ZONES)), chance, 1)
    assert ticks > 4_000


def test_range_from_a_number_to_itself_is_that_number():
    assert parse("0 4-4 * jan-1 fri-5/2").fields == ["0", "4", "*", "jan", "fri"]


def compare(expression: str, zone: ZoneInfo, chance: random.Random, number: int) -> int:
    """Compare the ticks in some spans of time; return how many there were."""
    cron = oracle.Cron(expression)
    ticks = 0
    if not any(cron.has_day(oracle.FIRST.date() + n * oracle.DAY) for n in range(9 * 366)):
        with pytest.raises(ValueError, match="never runs"):
            parse(expression)
        return 0
    for start, end in oracle.windows(cron, zone, chance, number):
        expected = cron.ticks(zone, start, end)
        found = []
        moment = next_after(expression, zone, start - oracle.MINUTE)
        while moment is not None and moment < end:
            found.append(moment)
            moment = next_after(expression, zone, moment)
        assert found == expected, (expression, zone, start, end)
        ticks += len(expected)
    return ticks


def test_time_that_does_not_exist_runs_once_at_the_end_of_the_gap():
    assert local_ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T03:00", 2) == [
        "29 03:00+0200",
        "30 02:30+0200",
    ]


def test_several_times_in_a_gap_are_one_tick():
    assert local_ticks("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T04:00", 3) == [
        "29 03:00+0200",
        "29 03:30+0200",
        "30 02:00+0200",
    ]


def test_repeated_hour_does_not_run_a_fixed_job_twice():
    assert local_ticks("30 1 * * *", "America/New_York", "2026-10-31T12:00", 2) == [
        "01 01:30-0400",
        "02 01:30-0500",
    ]


def test_quarters_go_on_through_the_repeated_hour():
    assert local_ticks("*/30 * * * *", "America/New_York", "2026-11-01T00:45", 6) == [
        "01 01:00-0400", "01 01:30-0400", "01 01:00-0500", "01 01:30-0500", "01 02:00-0500",
        "01 02:30-0500",
    ]  # fmt: skip


def test_hourly_goes_on_through_half_an_hour():
    assert local_ticks("0 * * * *", "Australia/Lord_Howe", "2026-04-05T00:30", 3) == [
        "05 01:00+1100",
        "05 02:00+1030",
        "05 03:00+1030",
    ]


def test_wildcard_has_no_tick_in_a_gap():
    assert local_ticks("*/30 2 * * *", "Europe/Berlin", "2026-03-28T02:15", 3) == [
        "28 02:30+0100",
        "30 02:00+0200",
        "30 02:30+0200",
    ]


def test_leap_day_comes_every_four_years():
    assert next_after("0 0 29 2 *", UTC, datetime.datetime(2024, 3, 1, tzinfo=UTC)) == (
        datetime.datetime(2028, 2, 29, tzinfo=UTC)
    )


def test_seconds_of_now_do_not_matter():
    now = datetime.datetime(2026, 1, 1, 11, 59, 59, 999_999, tzinfo=UTC)
    assert next_after("* * * * *", UTC, now) == datetime.datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "five fields"),
        ("* * * *", "got 4"),
        ("* * * * * *", "got 6"),
        ("61 * * * *", "minute '61'"),
        ("* 24 * * *", "hour '24'"),
        ("* * 0 * *", "day of month '0'"),
        ("* * * foo *", "month 'foo'"),
        ("* * * * 8", "day of week '8'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("@reboot", "'@reboot' is unknown. Use five fields, or one of @yearly"),
        ("H 3 * * *", "minute 'h' is not supported"),
        ("0 0 15W * *", "day of month '15w' is not supported"),
        ("0 0 30 2 *", "never runs"),
        ("a\0b * * * *", "minute"),
        ("٣ * * * *", "minute"),
        ("1-2-3 * * * *", "minute"),
        ("- * * * *", "minute '-'"),
        ("* * * * mon#9", "day of week"),
    ],
)
def test_wrong_expression_is_refused_with_the_field(expression, message):
    with pytest.raises(ValueError, match="crontab") as refused:
        parse(expression)
    assert message in str(refused.value)


def test_any_text_is_an_expression_or_a_value_error():
    chance = random.Random(3)
    for _ in range(3_000):
        text = "".join(chance.choices("0123456789*/-,#lL? monjan@hHrRwW", k=chance.randint(1, 16)))
        try:
            parse(text)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("0 3 * * monday-friday", "0 3 * * mon-fri"),
        ("0 3 * * Sunday", "0 3 * * 0"),
        ("0 3 * * tuesday,Thursday,saturday", "0 3 * * 2,4,6"),
        ("0 3 1 january *", "0 3 1 1 *"),
        ("0 3 1 March-may,SEPTEMBER *", "0 3 1 3-5,9 *"),
        ("0 3 * february,december wednesday", "0 3 * 2,12 3"),
    ],
)
def test_days_and_months_may_be_written_out(long, short):
    ticks = [local_ticks(each, "UTC", "2026-01-01T00:00", 9) for each in (long, short)]
    assert ticks[0] == ticks[1]


@pytest.mark.parametrize(
    "expression",
    ["0 3 * * mondays", "0 3 * * mo", "0 3 * januar *", "monday * * * *", "0 3 * monday *"],
)
def test_other_names_are_refused(expression):
    with pytest.raises(ValueError, match="crontab '"):
        parse(expression)
