"""The admin, the commands and the health probe read thousands of queues."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from django.test import Client
from django.urls import reverse

from django_jobs.api.waiting_reasons import waiting_reasons
from django_jobs.db import clock
from django_jobs.metrics import health
from django_jobs.metrics.health import checks
from django_jobs.metrics.open_jobs import oldest_ready
from django_jobs.metrics.snapshot import look
from django_jobs.models import Job, Queue
from tests import jobs

pytestmark = pytest.mark.django_db

#: SQLite takes no more than 500 queries in one, and no more than 2,000 columns.
MANY = [f"q{number:04}" for number in range(2_001)]


@pytest.fixture
def jobs_of_many(new_worker: Callable[..., Any]) -> None:
    """A ready job in each queue, and a worker of them all."""
    new_worker(60, slots=1)
    with transaction.atomic():
        for queue in MANY:
            jobs.add.apply_async((1,), queue=queue)


@pytest.mark.usefixtures("jobs_of_many")
def test_each_of_many_queues_is_shown(boss: Client) -> None:
    states = {state.name: int(state.ready) for state in look("default").queues}
    assert {name: states[name] for name in MANY} == dict.fromkeys(MANY, 1)
    assert sorted(oldest_ready("default", MANY)) == MANY
    reasons = waiting_reasons(list(Job.objects.all()))
    assert [reason.position for reason in reasons.values()] == [0] * len(MANY)
    for page in ("queue", "job", "worker"):
        assert boss.get(reverse(f"admin:django_jobs_{page}_changelist")).status_code == 200
    out = io.StringIO()
    call_command("jobs", "stats", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert {queue["name"]: queue["ready"]["count"] for queue in told["queues"]} == dict.fromkeys(
        MANY, 1
    )
    assert None not in {queue["oldest"] for queue in told["queues"]}


@pytest.mark.usefixtures("jobs_of_many")
def test_last_of_many_queues_starves() -> None:
    hours = datetime.timedelta(hours=5)
    Job.objects.filter(queue=MANY[-1]).update(ready_at=F("ready_at") - hours)
    found = {check.part: check.ok for check in checks(health.look("default"), queue=MANY[-1])}
    assert found["jobs"] is False
    Queue.objects.create(name=MANY[-1], paused_at=clock("default"))
    found = {check.part: check.ok for check in checks(health.look("default"), queue=MANY[-1])}
    assert found["jobs"] is True
    found = {check.part: check.ok for check in checks(health.look("default"), queue=MANY[-2])}
    assert found["jobs"] is True
