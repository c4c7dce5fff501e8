"""A process manager kills a worker that it told to stop: the worker's jobs are not to blame."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from django_jobs import job
from django_jobs.db import clock
from django_jobs.ids import uuid7
from django_jobs.maintenance import rescue
from django_jobs.models import Job, Worker
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.signals import worker_ready
from django_jobs.values import Claimed
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.shared_slots import SharedSlots
from django_jobs.worker.worker import WorkerProcess
from tests import jobs
from tests.worker.parts import presence_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registered"),
]

Take = Callable[..., list[Claimed]]


def end_lease(worker: Worker) -> None:
    Worker.objects.filter(pk=worker.pk).update(lease_until=clock("default", -1))


@pytest.mark.parametrize(("stopping", "crashes"), [(True, 0), (False, 1)])
def test_job_of_a_worker_killed_while_it_stops_counts_no_crash(
    worker: Worker, take: Take, stopping: bool, crashes: int
) -> None:
    result = jobs.add.delay(1, 2)
    take()
    assert presence_of(worker).beat(stopping=stopping)
    end_lease(worker)
    assert rescue.run_once("default") == 1
    assert (result.status, result.job.crashes) == ("PENDING", crashes)
    worker.refresh_from_db()
    assert worker.lost_at is not None


def test_deploys_that_kill_never_fail_a_job(new_worker: Callable[..., Worker], take: Take) -> None:
    result = jobs.add.delay(1, 2)
    for number in range(1, 6):
        worker = new_worker()
        (claimed,) = take(by=worker)
        assert claimed.claims == number
        presence_of(worker).beat(stopping=True)
        end_lease(worker)
        rescue.run_once("default")
    assert (result.status, result.job.retries, result.job.crashes) == ("PENDING", 0, 0)


def test_outcome_of_the_killed_attempt_no_longer_counts(
    worker: Worker, take: Take, new_worker: Callable[..., Worker]
) -> None:
    result = jobs.add.delay(1, 2)
    (claimed,) = take()
    outcome = execute(claimed, Environment())
    presence_of(worker).beat(stopping=True)
    end_lease(worker)
    rescue.run_once("default")
    take(by=new_worker())
    assert record(worker.pk, [outcome], "default") == []
    assert result.status == "STARTED"


def test_job_that_may_run_once_fails_also_when_the_worker_was_stopping(
    worker: Worker, take: Take
) -> None:
    def body() -> None: ...

    once = job(name="tests.once", acks_late=False)(body).delay()
    again = jobs.add.delay(1, 2)
    assert len(take()) == 2
    presence_of(worker).beat(stopping=True)
    end_lease(worker)
    assert rescue.run_once("default") == 2
    assert (once.status, again.status) == ("FAILURE", "PENDING")
    assert list(Job.objects.order_by("pk").values_list("crashes", flat=True)) == [1, 0]


def test_first_heartbeat_after_a_stop_writes_its_time(worker: Worker) -> None:
    presence_of(worker).beat()
    worker.refresh_from_db()
    assert worker.stopping_at is None
    presence_of(worker).beat(stopping=True)
    worker.refresh_from_db()
    first = worker.stopping_at
    assert first is not None
    presence_of(worker).beat(stopping=True)
    worker.refresh_from_db()
    assert worker.stopping_at == first


def test_worker_that_is_told_to_stop_while_it_starts_is_never_ready(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = WorkerProcess(WorkerOptions(), uuid7(), 0, SharedSlots(1), channel=None)
    begin, heard = process.lease.begin, []

    def begin_and_stop() -> None:
        begin()
        process.stop()

    def hear(**_: Any) -> None:
        heard.append("ready")

    monkeypatch.setattr(process.lease, "begin", begin_and_stop)
    monkeypatch.setattr("django_jobs.worker.worker.own_connection", lambda using: None)
    monkeypatch.setattr(connections, "close_all", lambda: None)
    caplog.set_level(logging.INFO, "django_jobs")
    worker_ready.connect(hear)
    try:
        process._loop()
    finally:
        worker_ready.disconnect(hear)
        process.waker.close()
    assert "worker ready" not in caplog.text
    assert heard == []
    assert Worker.objects.get().stopped_at is not None


def test_process_that_was_told_to_stop_writes_it_with_its_next_heartbeat() -> None:
    process = WorkerProcess(WorkerOptions(), uuid7(), 0, SharedSlots(1), channel=None)
    assert process.coordinator is not None
    leases = process.coordinator.leases
    try:
        process.lease.begin()
        leases.renew()
        assert Worker.objects.get().stopping_at is None
        process.stop()
        process.lease.report()
        leases.renew()
        assert Worker.objects.get().stopping_at is not None
    finally:
        process.waker.close()
        process.coordinator.waker.close()
