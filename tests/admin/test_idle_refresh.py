"""Pages that refresh themselves are not sent again while only time passes."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from django_jobs.metrics import cache, flow
from django_jobs.models import Queue, Schedule
from django_jobs.status import Status
from tests.admin.test_approvals import asking
from tests.admin.test_jobs import make

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

ADMIN = "/admin/django_jobs/"
REFRESH = {"X-Jobs-Refresh": "1"}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime.datetime:
    """Return a time within a minute. The pages take the time of this process as the database's."""
    monkeypatch.setattr(cache, "unix_time", lambda using: timezone.now().timestamp())
    return timezone.now().replace(second=20, microsecond=0)


@pytest.fixture
def pages(
    now: datetime.datetime, new_worker: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Return the paths of all pages that refresh themselves, which show all kinds of ages."""
    question = asking()
    # Late by both clocks. In seven seconds, "1 min ago" becomes "2 min ago".
    late, soon = now - datetime.timedelta(seconds=115), now + datetime.timedelta(hours=1)
    workers = [new_worker(9_000, heartbeat_at=late) for _number in range(2)]
    workers.append(new_worker(9_000, heartbeat_at=soon, slots=2, queues=["slow", "default"]))
    Queue.objects.create(name="mail", paused_at=now)
    Queue.objects.create(name="slow", target_seconds=5)
    make(Status.PENDING, queue="mail")
    make(Status.PENDING, queue="slow", ready_at=now - datetime.timedelta(minutes=10))
    half = {"done": 5, "total": 20}
    runs = make(Status.STARTED, worker_id=workers[-1].pk, progress=half)
    timed = make(Status.RETRY, run_at=now + datetime.timedelta(hours=2), error_class="E")
    failed = make(Status.FAILURE, error_class="E")
    Schedule.objects.create(name="nightly", job_name="tests.jobs.add", next_run_at=late)
    # It was enqueued ten minutes ago, less three seconds.
    edge = int((now.timestamp() - flow.SECONDS + 3) * 1000) << 80
    make(Status.SUCCESS, id=UUID(int=edge), queue="default")
    pages = {
        "the dashboard": "dashboard/", "the dashboard of a day": "dashboard/?window=24h",
        "the jobs": "job/", "the jobs of a status": "job/?status=PENDING",
        "the jobs of a search": "job/?q=add", "the queues": "queue/",
        "a queue": "queue/slow/page/", "the workers": "worker/",
        "the questions": "approval/",
    }  # fmt: skip
    jobs = {"a running job": runs, "a timed job": timed, "a failed job": failed}
    pages |= {name: f"job/{row.pk}/change/" for name, row in jobs.items()}
    pages["a job that asks"] = f"job/{question.uuid}/change/"
    pages["a worker"] = f"worker/{workers[-1].pk}/change/"
    return pages


@pytest.mark.parametrize("cap", [flow.CAP, 3])
def test_pages_are_not_sent_again_while_only_time_passes(
    boss: Client, pages: dict[str, str], now: datetime.datetime, cap: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(flow, "CAP", cap)
    sent = []
    for name, path in pages.items():
        with time_machine.travel(now, tick=False) as clock_of_host:
            cache.clear()
            first = boss.get(ADMIN + path, headers=REFRESH)
            assert first.status_code == 200
            clock_of_host.shift(7)
            cache.clear()
            ask = {**REFRESH, "If-None-Match": first["ETag"]}
            if boss.get(ADMIN + path, headers=ask).status_code != 304:
                sent.append(name)
    assert sent == []
