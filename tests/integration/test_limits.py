"""Limits over real worker processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_jobs.models import Job, Permit, Queue
from tests.integration import jobs
from tests.torture.limits import fullest

pytestmark = pytest.mark.django_db(transaction=True)


def test_processes_keep_the_limits(
    runworker: Callable[..., Any], until: Any, folder: str, notes: Any
) -> None:
    Queue.objects.create(name="narrow", concurrency=2)
    jobs.exclusive.delay_many((folder, n % 3) for n in range(30))
    jobs.rated.delay_many([()] * 50)
    jobs.mark.delay_many(((folder, n) for n in range(20)), queue="narrow")
    worker = runworker("-c", "2", "-Q", "default,narrow")
    until(lambda: not Job.objects.live().exists())
    assert worker.stop() == 0
    assert Job.objects.filter(status="SUCCESS").count() == 100
    assert "overlap" not in notes()
    starts = Job.objects.filter(name=jobs.rated.name).values_list("started_at", flat=True)
    assert fullest(sorted(start.timestamp() for start in starts), 1.0) <= 20
    assert not Permit.objects.exists()
    assert not Job.objects.exclude(waiting_for=None).exists()


def test_burst_ends_when_nobody_waits(runworker: Callable[..., Any], folder: str) -> None:
    jobs.exclusive.delay_many((folder, 0) for _ in range(10))
    assert runworker("--burst", "-c", "2").wait() == 0
    assert Job.objects.filter(status="SUCCESS").count() == 10
