"""Signals at every moment: what ends, what is given back, which exit code."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from django_jobs.models import Job, Worker
from tests.integration import jobs
from tests.integration.conftest import is_alive
from tests.waiting import LONG


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_warm_stop_finishes_what_runs_and_gives_the_rest_back(
    runworker, until, folder, notes, number
):
    running = jobs.hold.delay(folder)
    waiting = [jobs.mark.delay(folder, n) for n in range(5)]
    worker = runworker("-c", "1")
    until(notes)
    worker.signal(number)
    until(lambda: "stopping" in worker.output())
    assert not worker.has_ended()
    Path(folder, "go").touch()
    assert worker.wait() == 0, worker.output()
    assert running.status == "SUCCESS"
    assert not Job.objects.filter(status="STARTED").exists()
    assert {result.status for result in waiting} <= {"PENDING", "SUCCESS"}
    assert not Worker.objects.live().exists()


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,)])
def test_cold_stop_gives_the_running_job_back(runworker, until, folder, notes, numbers):
    result = jobs.hold.delay(folder)
    worker = runworker("-c", "1")
    until(notes)
    for number in numbers:
        worker.signal(number)
        until(lambda: "stopping" in worker.output())
    assert worker.wait() == 0, worker.output()
    assert not is_alive(int(notes()[0]))
    assert result.status == "PENDING"
    assert result.job.crashes == 0


@pytest.mark.parametrize("function", [jobs.hold, jobs.hold_async], ids=["plain", "coroutine"])
def test_solo_cold_stop_gives_the_running_job_back(runworker, until, folder, notes, function):
    result = function.delay(folder)
    worker = runworker("-P", "solo", "-Q", "default")
    until(notes)
    worker.signal(signal.SIGQUIT)
    assert worker.wait() == 0, worker.output()
    assert result.status == "PENDING"
    assert result.job.crashes == 0


def test_five_terms_while_idle_end_with_zero(runworker):
    worker = runworker("-c", "2")
    for _ in range(5):
        worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output()
    assert not Worker.objects.live().exists()


def test_hangup_starts_over_with_new_processes(runworker, until, folder):
    worker = runworker("-c", "1")
    before = jobs.hold.delay(folder, "go")
    Path(folder, "go").touch()
    first = before.get(timeout=LONG)
    worker.signal(signal.SIGHUP)
    until(lambda: Worker.objects.count() == 2)
    second = jobs.hold.delay(folder, "go").get(timeout=LONG)
    assert second != first
    assert worker.stop() == 0


def test_usr1_shows_the_stacks_of_busy_workers(runworker, until, folder, notes):
    jobs.hold.delay(folder)
    worker = runworker("-c", "1")
    until(notes)

    def shows() -> bool:
        # The coordinator shows its stack at the same time, and the two may be mixed up.
        worker.signal(signal.SIGUSR1)
        return "in wait_for" in worker.output()

    until(shows)
    Path(folder, "go").touch()
    assert worker.stop() == 0


def test_pidfile_names_the_supervisor_and_goes_with_it(runworker, until, folder):
    path = Path(folder, "worker.pid")
    worker = runworker("-c", "1", "--pidfile", str(path))
    assert int(path.read_text()) == worker.process.pid
    second = runworker("-c", "1", "--pidfile", str(path), "--burst")
    assert second.wait() == 1
    assert "names a running process" in second.output()
    assert worker.stop() == 0
    assert not path.exists()


def test_job_that_has_ended_is_seen_while_the_next_one_is_long(runworker, until, folder, notes):
    quick = jobs.mark.delay(folder, "quick")
    long = jobs.hold.delay(folder)
    worker = runworker("-c", "1")
    assert quick.get(timeout=LONG) == "quick"
    until(lambda: len(notes()) == 2)
    assert long.status == "STARTED"
    Path(folder, "go").touch()
    assert worker.stop() == 0


def test_jobs_behind_a_long_one_go_to_an_idle_worker(runworker, until, folder, notes):
    jobs.mark.delay_many([(folder, f"warm {n}") for n in range(3000)])
    worker = runworker("-c", "1")
    until(lambda: len(notes()) == 3000)
    # The worker is used to short jobs and claims many at once: a long one and what stands behind.
    long, *behind = [
        jobs.hold.delay(folder),
        *jobs.mark.delay_many([(folder, f"behind {n}") for n in range(50)]),
    ]
    until(lambda: long.status == "STARTED")
    other = runworker("-c", "1")
    until(lambda: {result.status for result in behind} == {"SUCCESS"})
    assert long.status == "STARTED"
    Path(folder, "go").touch()
    assert worker.stop() == other.stop() == 0


def test_warm_stop_becomes_cold_after_the_grace_period(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    worker = runworker("-c", "1", grace=0.3)
    until(notes)
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.wait() == 0, worker.output()
    assert "grace period is over: running jobs are stopped" in worker.output()
    assert result.status == "PENDING"


def test_solo_stop_becomes_cold_after_the_grace_period(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    worker = runworker("-P", "solo", "-Q", "default", grace=0.3)
    until(notes)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output()
    assert result.status == "PENDING"


def test_stop_during_a_reload_stops(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    worker = runworker("-c", "1")
    until(notes)
    worker.signal(signal.SIGHUP)
    until(lambda: "stopping" in worker.output())
    worker.signal(signal.SIGTERM)
    Path(folder, "go").touch()
    assert worker.wait() == 0, worker.output()
    assert result.status == "SUCCESS"
    assert "starting over" not in worker.output()


def test_hangup_during_a_stop_does_not_start_over(runworker, until, folder, notes):
    jobs.hold.delay(folder)
    worker = runworker("-c", "1")
    until(notes)
    worker.signal(signal.SIGTERM)
    until(lambda: "stopping" in worker.output())
    worker.signal(signal.SIGHUP)
    Path(folder, "go").touch()
    assert worker.wait() == 0, worker.output()
    assert "starting over" not in worker.output()


def test_solo_stop_during_the_last_job_of_a_budget_is_not_lost(runworker, until, folder, notes):
    running = jobs.hold.delay(folder)
    behind = jobs.mark.delay(folder, "behind")
    worker = runworker("-P", "solo", "-Q", "default", "--max-jobs-per-child", "1")
    until(notes)
    worker.signal(signal.SIGTERM)
    Path(folder, "go").touch()
    assert worker.wait() == 0, worker.output()
    assert (running.status, behind.status) == ("SUCCESS", "PENDING")


def test_solo_stops_amid_short_jobs_leave_none_started(runworker, until, folder, notes):
    jobs.mark.delay_many((folder, n) for n in range(3000))
    for enough in (100, 200, 300):
        worker = runworker("-P", "solo", "-Q", "default")
        until(lambda enough=enough: len(notes()) >= enough)
        worker.signal(signal.SIGTERM)
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 0, worker.output()
        assert not Job.objects.filter(status="STARTED").exists()
    assert not Job.objects.exclude(crashes=0).exists()
    # The stop may come between a job's note and its end: that job runs again.
    unfinished = len(set(notes())) - Job.objects.filter(status="SUCCESS").count()
    assert 0 <= unfinished <= 3


def test_worker_killed_amid_its_stop_blames_no_job(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    worker = runworker("-c", "1", lease=3)
    until(notes)
    worker.signal(signal.SIGTERM)
    until(lambda: Worker.objects.exclude(stopping_at=None).exists())
    worker.signal(signal.SIGKILL)
    worker.wait()
    Path(folder, "go").touch()
    other = runworker("-c", "1", lease=3)
    until(result.ready)
    assert (result.status, result.job.crashes, result.job.claims) == ("SUCCESS", 0, 2)
    assert other.stop() == 0
