"""The page with the runs of all schedules by hour, and its JSON."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from django_jobs.models import Schedule
from django_jobs.schedules import busy_hours as module

pytestmark = pytest.mark.django_db

PAGE = "/admin/django_jobs/schedule/busy-hours/"


@pytest.fixture
def tomorrow() -> datetime.date:
    """Two schedules run tomorrow at 14: one once, one every five minutes of the hour."""
    day = timezone.localdate() + datetime.timedelta(days=1)
    start = datetime.datetime.combine(day, datetime.time(14), timezone.get_current_timezone())
    for name, seconds in (("rare <b>", 90_000.0), ("often", 300.0)):
        Schedule.objects.create(
            name=name, job_name="tests.jobs.add", kind="interval", interval_seconds=seconds,
            next_run_at=start, ends_at=start + datetime.timedelta(minutes=59),
        )  # fmt: skip
    return day


def test_cell_has_the_runs_the_busiest_schedules_and_a_link(
    boss: Client, tomorrow: datetime.date
) -> None:
    assert f'href="{PAGE}"' in boss.get("/admin/django_jobs/schedule/").content.decode()
    html = boss.get(PAGE).content.decode()
    assert html.count('<th scope="row">') == 7
    link = f'<a href="?hour={tomorrow}T14#jobs-hour" title="'
    assert html.count(link) == 1
    cell = html.partition(link)[2].partition("</a>")[0]
    names = "often (12), rare &lt;b&gt; (1)"
    assert cell.endswith(f"13 runs of 2 schedules: {names}</span>")
    assert cell.count(names) == 2
    assert f'?hour={tomorrow}T14#jobs-hour">' in html.partition("Busiest hour:")[2]


def test_hour_lists_its_schedules_with_links(boss: Client, tomorrow: datetime.date) -> None:
    html = boss.get(PAGE, {"hour": f"{tomorrow}T14"}).content.decode()
    listed = html.partition('id="jobs-hour"')[2]
    often, rare = Schedule.objects.order_by("name")
    assert listed.index(f"/schedule/{often.pk}/change/") < listed.index(f"/{rare.pk}/change/")
    assert "No schedule runs" in boss.get(PAGE, {"hour": f"{tomorrow}T15"}).content.decode()
    for wrong in ("x", "2020-01-01T05", f"{tomorrow}T99"):
        assert 'id="jobs-hour"' not in boss.get(PAGE, {"hour": wrong}).content.decode()


def test_shades_show_the_crowded_hour_among_busy_ones(
    boss: Client, tomorrow: datetime.date
) -> None:
    often = Schedule.objects.get(name="often")
    assert often.next_run_at is not None
    Schedule.objects.filter(pk=often.pk).update(ends_at=None)
    Schedule.objects.create(
        name="crowd", job_name="tests.jobs.add", kind="crontab", crontab="*/30 15 * * *",
        next_run_at=often.next_run_at + datetime.timedelta(hours=1),
        timezone=timezone.get_current_timezone_name(),
    )  # fmt: skip
    html = boss.get(PAGE).content.decode()
    by_hour = {hour: int(shade) for shade, hour in re.findall(
        r'jobs-ticks-(\d)"><a href="\?hour=([-\dT]+)#', html)}  # fmt: skip
    assert by_hour[f"{tomorrow}T15"] == 4
    assert by_hour[f"{tomorrow}T16"] == 1


def test_page_says_what_is_not_counted(
    boss: Client, tomorrow: datetime.date, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "counted" not in boss.get(PAGE).content.decode()
    monkeypatch.setattr(module, "_MOST_STEPS", -1)
    assert "2 schedules are not counted" in boss.get(PAGE).content.decode()
    Schedule.objects.all().delete()
    assert "No enabled schedule runs" in boss.get(PAGE).content.decode()


def test_json_has_every_hour(boss: Client, tomorrow: datetime.date) -> None:
    found = boss.get(PAGE, {"format": "json"}).json()
    (busy,) = (hour for hour in found["hours"] if hour["ticks"])
    assert (busy["day"], busy["hour"], busy["ticks"]) == (str(tomorrow), 14, 13)
    assert [one["name"] for one in busy["busiest"]] == ["often", "rare <b>"]
    assert (found["schedules"], found["left_out"], found["capped"]) == (2, 0, False)


def test_page_takes_as_many_statements_for_many_schedules(
    boss: Client, tomorrow: datetime.date, django_assert_max_num_queries: Any
) -> None:
    for number in range(200):
        Schedule.objects.create(
            name=f"s{number}", job_name="tests.jobs.add", kind="crontab", crontab="* * * * *",
            next_run_at=timezone.now(), timezone=("UTC", "Asia/Kolkata")[number % 2],
        )  # fmt: skip
    # The session, the user, the schedules, and those of the hour with their names.
    with django_assert_max_num_queries(5):
        boss.get(PAGE, {"hour": f"{tomorrow}T14"})


@pytest.mark.parametrize("query", [{}, {"format": "json"}], ids=["page", "json"])
def test_page_and_json_need_the_permission(
    client_of: Callable[..., Client], query: dict[str, str]
) -> None:
    assert client_of("view_schedule").get(PAGE, query).status_code == 200
    User.objects.all().delete()
    assert client_of("view_job").get(PAGE, query).status_code == 403


def test_hours_are_those_of_the_current_time_zone(boss: Client, tomorrow: datetime.date) -> None:
    with timezone.override("Asia/Kolkata"):
        found = boss.get(PAGE, {"format": "json"}).json()
    assert found["timezone"] == "Asia/Kolkata"
    start = next(hour for hour in found["hours"] if hour["ticks"])
    first = Schedule.objects.all()[0].next_run_at
    assert first is not None
    local = timezone.localtime(first, timezone.get_default_timezone())
    assert start["hour"] != local.hour
