"""The alerts above a list read no more than they are about."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_jobs.db import clock
from django_jobs.display.alerts import alerts
from django_jobs.metrics import cache
from django_jobs.metrics.snapshot import earlier_overview, look
from django_jobs.models import Queue, Schedule
from django_jobs.status import Status
from tests.admin.test_jobs import make

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

ADMIN = "/admin/django_jobs/"
REFRESH = {"X-Jobs-Refresh": "1"}


def tables_of(ask: Callable[[], Any]) -> list[str]:
    """Return the table that each statement of ours begins with."""
    cache.clear()
    with CaptureQueriesContext(connection) as captured:
        ask()
    tables = [re.findall(r"django_jobs_(\w+)", query["sql"]) for query in captured]
    return [found[0] for found in tables if found]


def test_refresh_of_the_workers_reads_workers_only(boss: Client, new_worker: Any) -> None:
    for _number in range(3):
        new_worker()
        make(Status.PENDING)
    first = boss.get(f"{ADMIN}worker/", headers=REFRESH)
    ask = {**REFRESH, "If-None-Match": first["ETag"]}
    statuses = []
    tables = tables_of(
        lambda: statuses.append(boss.get(f"{ADMIN}worker/", headers=ask).status_code)
    )
    assert (statuses, tables) == ([304], ["worker"] * 3)


def test_page_of_schedules_reads_no_jobs_for_its_alerts(boss: Client) -> None:
    make(Status.PENDING)
    tables = tables_of(lambda: alerts(earlier_overview("default", "schedule")))
    assert tables == ["schedule"] * 2
    assert boss.get(f"{ADMIN}schedule/").status_code == 200


def test_refresh_of_the_jobs_reads_no_choices_of_filters(boss: Client) -> None:
    make(Status.FAILURE, error_class="shop.Error")
    make(Status.FAILURE, error_class="shop.Other", name="tests.jobs.echo")
    whole, part = (
        tables_of(lambda headers=headers: boss.get(f"{ADMIN}job/", headers=headers))
        for headers in ({}, REFRESH)
    )
    assert "measurement" in whole
    assert "measurement" not in part
    path = f"{ADMIN}job/?error=shop.Error"
    chips = [boss.get(path, headers=headers).context["chips"] for headers in ({}, REFRESH)]
    assert chips[0] == chips[1]
    assert [chip["value"] for chip in chips[0]] == ["Error"]


@pytest.mark.parametrize("model", ["worker", "schedule"])
@pytest.mark.parametrize("live", [0, 1])
@pytest.mark.parametrize("late", [0, 1, 2])
@pytest.mark.parametrize("beats", [0, 1])
def test_alerts_of_one_model_are_those_of_the_dashboard(
    new_worker: Any, model: str, live: int, late: int, beats: int
) -> None:
    for number in range(live):
        new_worker(name=f"live{number}")
    for number in range(late):
        lease = 60 if number else -60
        new_worker(lease, name=f"late{number}", heartbeat_at=clock("default", -4_000))
    for _number in range(beats):
        new_worker(pool="beat")
    new_worker(name="stopped", stopped_at=clock("default"), heartbeat_at=clock("default", -4_000))
    Queue.objects.create(name="mail", paused_at=clock("default"))
    make(Status.PENDING, queue="mail")
    make(Status.SCHEDULED)
    for name in ("one", "two"):
        Schedule.objects.create(
            name=name, job_name="tests.jobs.add", next_run_at=clock("default", -4_000)
        )
    cache.clear()
    mine, all_of_them = earlier_overview("default", model), look("default")
    expected = [alert for alert in alerts(all_of_them) if alert.model == model]
    assert [alert for alert in alerts(mine) if alert.model == model] == expected
    assert expected or (model == "worker" and live and not late)
