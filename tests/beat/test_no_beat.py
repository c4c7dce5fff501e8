"""Pages and commands warn while schedules are enabled and no beat runs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from prometheus_client import CollectorRegistry

from django_jobs.db import clock
from django_jobs.define import registry
from django_jobs.metrics import cache
from django_jobs.metrics.prometheus import JobsCollector
from django_jobs.models import Schedule, Worker
from tests.beat.conftest import ADD

pytestmark = pytest.mark.django_db

NO_BEAT = "No beat runs: schedules do not fire."
LIST = "/admin/django_jobs/schedule/"


def commanded(*arguments: str) -> tuple[str, str]:
    """Return what ``manage.py jobs`` wrote to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("jobs", *arguments, stdout=out, stderr=err, no_color=True)
    except CommandError as error:
        err.write(str(error))
    return out.getvalue(), err.getvalue()


def alive(pool: str) -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        name=pool, hostname="h", pid=1, pool=pool, started_at=now, heartbeat_at=now,
        lease_until=clock("default", 60),
    )  # fmt: skip


def _stats(client: Client) -> str:
    return commanded("stats")[1]


def _stats_as_json(client: Client) -> str:
    return NO_BEAT if json.loads(commanded("stats", "--json")[0])["lacks_beat"] else ""


def _ping(client: Client) -> str:
    out, err = commanded("inspect", "ping", "--json")
    assert [row["name"] for row in json.loads(out)] == ["solo"]
    return err


def _schedules(client: Client) -> str:
    return commanded("schedules")[1]


def _list_page(client: Client) -> str:
    return client.get(LIST).content.decode()


def _page(client: Client) -> str:
    return client.get(f"{LIST}{Schedule.objects.get().pk}/change/").content.decode()


def _add_page(client: Client) -> str:
    return client.get(f"{LIST}add/").content.decode()


def _dashboard(client: Client) -> str:
    return client.get("/admin/django_jobs/dashboard/").content.decode()


def _metric(client: Client) -> str:
    collected = CollectorRegistry()
    collected.register(JobsCollector())
    return NO_BEAT if collected.get_sample_value("django_jobs_beat_missing") else ""


PLACES = [
    _stats, _stats_as_json, _ping, _schedules, _list_page, _page, _add_page, _dashboard, _metric,
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_place_says_that_no_beat_runs(make: Any, boss: Client, place: Any) -> None:
    def says() -> bool:
        cache.clear()
        return NO_BEAT in place(boss)

    alive("solo")
    make()
    assert says()
    # Without a beat, the schedule never gets a next run.
    Schedule.objects.update(next_run_at=None)
    assert says()
    beat = alive(Worker.BEAT)
    assert not says()
    Worker.objects.filter(pk=beat.pk).update(lease_until=clock("default", -1))
    assert says()
    Schedule.objects.update(enabled=False)
    assert not says()


@pytest.mark.parametrize("place", [_list_page, _page, _dashboard])
def test_page_says_it_once(make: Any, boss: Client, place: Any) -> None:
    alive("solo")
    make()
    assert place(boss).count(NO_BEAT) == 1


def test_commands_say_what_to_start(make: Any) -> None:
    make()
    told = "Start `manage.py runbeat`, or `runworker` with --beat."
    assert commanded("stats")[1] == f"warning: {NO_BEAT} {told}\n"
    assert commanded("list")[1] == ""


def test_ping_of_live_workers_is_well_without_a_beat(make: Any) -> None:
    make()
    alive("solo")
    call_command("jobs", "inspect", "ping", stdout=io.StringIO(), stderr=io.StringIO())


def test_schedules_of_the_code_without_rows_are_warned_of(settings: Any) -> None:
    settings.DJANGO_JOBS = {
        "SCHEDULES": {
            "nightly": {"job": ADD, "schedule": "0 3 * * *", "args": [1, 2]},
            "hourly": {"job": ADD, "schedule": 3600, "args": [1, 2]},
            "wrong": {"job": "tests.jobs.ad", "schedule": 3600},
        }
    }
    out, err = commanded("schedules")
    assert out == "No schedules.\n"
    assert err == (
        "warning: The code has schedules without rows: 'hourly', 'nightly'. They get "
        "rows when `manage.py migrate` runs or a beat starts.\n"
        "warning: A schedule of the code is invalid and gets no row: "
        "DJANGO_JOBS['SCHEDULES']['wrong']: "
        f"{registry.missing('tests.jobs.ad')}\n"
    )
    call_command("runbeat", "--once", stdout=io.StringIO())
    out, err = commanded("schedules")
    assert "nightly" in out
    assert "no rows yet" not in err


def test_many_schedules_that_are_no_rows_yet_are_counted(settings: Any) -> None:
    entry = {"job": ADD, "schedule": 60, "args": [1, 2]}
    settings.DJANGO_JOBS = {"SCHEDULES": {f"f{number}": entry for number in range(7)}}
    assert "'f0', 'f1', 'f2', 'f3', 'f4' and 2 more." in commanded("schedules")[1]
