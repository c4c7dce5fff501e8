"""A real worker beside the tests."""

from __future__ import annotations

import os
import signal

import pytest
from django.db import connections

from django_jobs import job
from django_jobs.conf import get_settings
from django_jobs.models import Worker
from django_jobs.testing import LiveWorker, live_worker, override_jobs
from tests import jobs
from tests.waiting import LONG

pytestmark = pytest.mark.usefixtures("registered")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.django_db(transaction=True)
def test_worker_runs_jobs_in_another_process_until_the_end_of_the_block() -> None:
    @job
    def tell() -> list[int]:
        return [os.getpid(), os.getppid()]

    with live_worker() as worker:
        child, parent = tell.delay().get(timeout=LONG)
        pid = worker.pid
        assert parent == pid
        assert is_running(pid)
    assert not is_running(pid)
    assert not is_running(child)
    assert not Worker.objects.live().exists()
    assert worker.pid == 0


@pytest.mark.django_db(transaction=True)
def test_worker_ends_with_an_error_of_the_block() -> None:
    with pytest.raises(ValueError, match="mine"), live_worker() as worker:
        pid = worker.pid
        raise ValueError("mine")
    assert not is_running(pid)


@pytest.mark.live_worker("--processes", "1", "--queues", "default", "--name", "mine")
def test_fixture_takes_the_arguments_of_its_marker(live_worker: LiveWorker) -> None:
    row = Worker.objects.live().get()
    assert (row.name, row.queues) == ("mine-0", ["default"])
    assert jobs.add.delay(1, 2).get(timeout=LONG) == 3


def test_restarted_worker_has_the_present_settings(live_worker: LiveWorker) -> None:
    before = live_worker.pid

    @job
    def tell() -> list[str]:
        return list(get_settings().queues)

    with override_jobs(QUEUES={"mine": {}}):
        live_worker.restart()
    assert not is_running(before)
    assert tell.delay().get(timeout=LONG) == ["mine"]


@pytest.mark.django_db(transaction=True)
def test_worker_that_does_not_start_tells_why() -> None:
    with pytest.raises(RuntimeError, match=r"did not start:\n(.|\n)*no-such-flag"):
        LiveWorker("--no-such-flag").start()


@pytest.mark.django_db(transaction=True)
def test_worker_that_runs_is_not_started_again() -> None:
    with live_worker() as worker, pytest.raises(RuntimeError, match="runs already"):
        worker.start()


@pytest.mark.django_db
def test_transaction_of_a_test_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"django_db\(transaction=True\)"):
        LiveWorker().start()


@pytest.mark.django_db(transaction=True)
def test_database_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch, vendor: str) -> None:
    if vendor != "sqlite":
        pytest.skip("only SQLite has databases in memory")
    monkeypatch.setattr(connections["default"], "is_in_memory_db", lambda: True)
    with pytest.raises(RuntimeError, match="SQLite in memory"):
        LiveWorker().start()


@pytest.mark.django_db(transaction=True)
def test_worker_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.testing.live._END_SECONDS", 0.1)
    with override_jobs(SHUTDOWN_GRACE_SECONDS=0.1), live_worker() as worker:
        pid = worker.pid
        os.kill(pid, signal.SIGSTOP)
    assert not is_running(pid)
