"""Dead processes, lost leases and stubborn jobs."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from django_jobs.exceptions import TimeLimitExceeded, WorkerLost
from django_jobs.ids import uuid7
from django_jobs.models import Job, Worker
from tests.integration import jobs
from tests.integration.conftest import is_alive
from tests.waiting import LONG


def test_job_of_a_killed_child_runs_again(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    worker = runworker("-c", "1")
    until(notes)
    os.kill(int(notes()[0]), signal.SIGKILL)
    until(lambda: len(notes()) == 2)
    Path(folder, "go").touch()
    assert result.get(timeout=LONG) == int(notes()[1]) != int(notes()[0])
    assert result.job.crashes == 1
    assert [attempt.status for attempt in result.job.attempts.all()] == ["PENDING"]
    assert worker.stop() == 0


@pytest.mark.parametrize("command", ["runworker", "runbeat"])
def test_process_begins_while_the_database_is_away(vendor, command, until, tmp_path):
    if vendor == "sqlite":
        pytest.skip("SQLite has no server that may be away")
    # Its port is taken, and nobody listens there.
    with socket.socket() as closed, (tmp_path / "log").open("wb") as log:
        closed.bind(("127.0.0.1", 0))
        scheme = "mysql" if vendor == "mysql" else "postgresql"
        url = f"{scheme}://nobody@127.0.0.1:{closed.getsockname()[1]}/nowhere"
        process = subprocess.Popen(
            [sys.executable, "manage.py", command],
            env={**os.environ, "DATABASE_URL": url},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
        )
        try:
            read = (tmp_path / "log").read_text
            until(lambda: "database away" in read() or process.poll() is not None)
            assert "database away" in read()
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait(LONG)


def test_job_that_is_not_acks_late_does_not_run_again_and_its_lines_are_kept(
    runworker, until, folder, notes
):
    result = jobs.hold_once_and_log.delay(folder)
    worker = runworker("-c", "1")
    until(notes)
    until(lambda: result.log)  # it runs
    os.kill(int(notes()[0]), signal.SIGKILL)
    with pytest.raises(WorkerLost):
        result.get(timeout=LONG)
    assert len(notes()) == 1
    assert [line.text for line in result.log] == ["holding"]
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_job_that_is_not_acks_late_ends_once_though_its_outcome_was_not_recorded(
    runworker, until, folder, notes, pool
):
    result = jobs.hold_once.delay(folder)
    worker = runworker("-P", pool, "-c", "1", "-Q", "default")
    until(notes)
    with transaction.atomic():
        # The outcome waits for this lock when the process is killed.
        Job.objects.filter(pk=result.id).update(error_message="locked")
        Path(folder, "go").touch()
        until(lambda: notes()[1:] == ["end"])
        os.kill(int(notes()[0]), signal.SIGKILL)
    # A server may still carry out the write of the session whose process is gone.
    until(lambda: result.status in ("FAILURE", "SUCCESS"))
    assert notes()[1:] == ["end"]
    assert worker.stop() == 0, worker.output()


def test_poison_ends_after_three_crashes_and_harms_no_other(runworker, until, folder, notes):
    poison = jobs.die.delay(folder)
    innocents = jobs.mark.delay_many([(folder, f"fine {n}") for n in range(50)])
    worker = runworker("-c", "1", "--burst")
    assert worker.wait() == 0, worker.output()
    with pytest.raises(WorkerLost):
        poison.get(timeout=1)
    assert poison.job.crashes == 3
    assert len([line for line in notes() if "fine" not in line]) == 3
    assert {result.status for result in innocents} == {"SUCCESS"}
    assert {result.job.crashes for result in innocents} == {0}


def test_killed_supervisor_leaves_no_orphan_and_its_jobs_are_rescued(
    runworker, until, folder, notes
):
    result = jobs.hold.delay(folder)
    first = runworker("-c", "2", lease=5)
    until(notes)
    children = first.children()
    first.process.kill()
    first.wait()
    until(lambda: not any(map(is_alive, children)))
    second = runworker("-c", "1", lease=5)
    until(lambda: len(notes()) == 2)
    Path(folder, "go").touch()
    assert result.get(timeout=LONG) == int(notes()[1])
    # A lease that runs out in the middle of a rescue is marked by the next one.
    until(lambda: Worker.objects.exclude(lost_at=None).exists())
    assert second.stop() == 0


def test_late_outcome_of_a_stopped_worker_is_dropped(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    first = runworker("-c", "1", lease=5)
    until(notes)
    frozen = int(notes()[0])
    freeze(frozen)
    second = runworker("-c", "1", lease=5)
    until(lambda: len(notes()) == 2)
    Path(folder, "go").touch()
    assert result.get(timeout=LONG) == int(notes()[1])
    os.kill(frozen, signal.SIGCONT)
    until(lambda: "outcome dropped" in first.output() or "worker lost" in first.output())
    assert result.get() == int(notes()[1]) != frozen
    assert result.job.claims == 2
    until(lambda: not is_alive(frozen))
    assert second.stop() == 0
    assert first.stop() == 0


def test_hard_limit_kills_a_job_that_holds_the_gil(runworker, until, folder, notes):
    result = jobs.never_release_the_gil.delay(folder)
    worker = runworker("-c", "1")
    with pytest.raises(TimeLimitExceeded, match=r"longer than 1 s"):
        result.get(timeout=LONG)
    after = jobs.mark.delay(folder, "after")
    assert after.get(timeout=LONG) == "after"
    assert worker.stop() == 0


def test_soft_limit_is_not_swallowed_by_except_exception(runworker, folder):
    result = jobs.swallow_exceptions.delay(folder)
    worker = runworker("-c", "1", "--burst")
    assert worker.wait() == 0, worker.output()
    assert result.get(timeout=1) == "tidied up"


@pytest.mark.parametrize("pool", ["asyncio", "prefork"])
def test_soft_limit_is_raised_inside_a_coroutine(runworker, pool):
    result = jobs.limited_async.delay()
    runworker("-P", pool, "-Q", "coroutines", "-c", "1", "--burst").wait()
    assert result.get(timeout=1) == "tidied up"


@pytest.mark.parametrize("pool", ["asyncio", "prefork"])
def test_hard_limit_ends_a_coroutine(runworker, pool):
    result = jobs.hard_limited_async.delay()
    runworker("-P", pool, "-Q", "coroutines", "-c", "1", "--burst").wait()
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=1)


def test_terminate_kills_the_running_job(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    worker = runworker("-c", "1")
    until(notes)
    assert result.revoke() is False
    assert result.revoke(terminate=True) is True
    assert result.status == "REVOKED"
    until(lambda: not is_alive(int(notes()[0])))
    after = jobs.mark.delay(folder, "after")
    assert after.get(timeout=LONG) == "after"
    assert result.status == "REVOKED"
    assert worker.stop() == 0


def test_terminate_cancels_a_coroutine(runworker, until, folder, notes):
    result = jobs.hold_async.delay(folder)
    worker = runworker("-P", "asyncio", "-Q", "default")
    until(notes)
    result.revoke(terminate=True)
    until(lambda: Worker.objects.filter(busy=0).exists() and "dropped" in worker.output())
    assert result.status == "REVOKED"
    assert worker.stop() == 0


def test_terminate_tells_a_thread(runworker, until, folder, notes):
    result = jobs.hold_until_revoked.delay(folder)
    worker = runworker("-P", "threads", "-Q", "default")
    until(notes)
    result.revoke(terminate=True)
    until(lambda: "revoked" in notes())
    assert result.status == "REVOKED"
    assert worker.stop() == 0


def test_atomic_job_whose_worker_dies_writes_nothing(runworker, until, folder, notes):
    result = jobs.write_and_hold.delay(folder, "once")
    worker = runworker("-c", "1")
    until(notes)
    os.kill(int(notes()[0]), signal.SIGKILL)
    until(lambda: len(notes()) == 2)
    Path(folder, "go").touch()
    assert result.get(timeout=LONG) == "once"
    assert Group.objects.filter(name="once").count() == 1
    assert worker.stop() == 0


def test_atomic_job_that_was_given_away_writes_nothing(runworker, until, folder, notes):
    if connection.vendor == "sqlite":
        # One writer: while the body's transaction is open nobody can take the job away.
        return
    result = jobs.write_and_hold.delay(folder, "fenced")
    worker = runworker("-c", "1")
    until(notes)
    Job.objects.filter(pk=result.id).update(worker_id=None, status="REVOKED")
    Path(folder, "go").touch()
    until(lambda: "dropped" in worker.output())
    assert not Group.objects.filter(name="fenced").exists()
    assert worker.stop() == 0


def test_rolled_back_enqueue_never_runs(runworker, folder, notes):
    worker = runworker("-c", "1")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        jobs.mark.delay(folder, "rolled back")
        raise ZeroDivisionError
    assert jobs.mark.delay(folder, "committed").get(timeout=LONG) == "committed"
    assert worker.stop() == 0
    assert notes() == ["committed"]


def test_four_processes_and_a_web_process_lose_nothing(runworker, until, folder, notes):
    worker = runworker("-c", "4")
    results = []
    for batch in range(20):
        results += jobs.mark.delay_many([(folder, f"{batch} {n}") for n in range(25)])
        results.append(jobs.mark.delay(folder, f"{batch} alone"))
    until(lambda: not Job.objects.live().exists())
    assert {result.status for result in results} == {"SUCCESS"}
    assert len(notes()) == len(set(notes())) == 520
    assert worker.stop() == 0
    assert "locked" not in worker.output()


def test_worker_outlives_its_database_connections(runworker, folder):
    if connection.vendor == "sqlite":
        # There is no server that could close them.
        return
    worker = runworker("-c", "1")
    assert jobs.count_groups.delay().get(timeout=LONG) == 0
    _close_all_other_connections()
    assert jobs.mark.delay(folder, "after").get(timeout=LONG) == "after"
    assert jobs.count_groups.delay().get(timeout=LONG) == 0
    assert worker.stop() == 0
    assert "database away" in worker.output()


def freeze(pid: int) -> None:
    """Stop a process, but not in the middle of SQLite's only write transaction."""
    os.kill(pid, signal.SIGSTOP)
    while connection.vendor == "sqlite" and not _is_writable():
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGSTOP)


def _is_writable() -> bool:
    database = sqlite3.connect(connection.settings_dict["NAME"], timeout=0.2)
    try:
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        database.close()
    return True


def _close_all_other_connections() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        cursor.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (number,) in cursor.fetchall():
            cursor.execute("KILL %s", [number])


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_job_that_is_not_acks_late_is_not_given_back(runworker, until, folder, notes, number):
    result = jobs.hold_once.delay(folder)
    worker = runworker("-c", "1")
    until(notes)
    worker.signal(number)
    worker.signal(signal.SIGQUIT)
    assert worker.wait() == 0, worker.output()
    assert result.status == "FAILURE"


def test_progress_that_is_no_json_fails_the_job_and_not_the_worker(runworker):
    result = jobs.show_nonsense.delay()
    worker = runworker("-c", "1", "--burst")
    assert worker.wait() == 0, worker.output()
    assert "which cannot be stored as JSON" in result.job.error_message
    assert result.job.crashes == 0


def test_long_job_outlives_its_lease_by_heartbeats(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    worker = runworker("-c", "2", lease=3)
    until(notes)
    first = Worker.objects.get(pk=result.job.worker_id).lease_until
    until(
        lambda: (
            (Worker.objects.get(pk=result.job.worker_id).lease_until - first).total_seconds() > 3
        )
    )
    Path(folder, "go").touch()
    assert result.get(timeout=LONG) == int(notes()[0])
    assert (result.job.claims, len(notes())) == (1, 1)
    assert worker.stop() == 0


def test_job_whose_notification_was_lost_is_found_by_polling(runworker, until, folder):
    worker = runworker("-c", "1")
    assert jobs.mark.delay(folder, "first").get(timeout=LONG) == "first"
    template = Job.objects.get()
    template.pk = uuid7()
    template.status, template.result = "PENDING", None
    template.save(force_insert=True)
    until(lambda: Job.objects.get(pk=template.pk).status == "SUCCESS")
    assert worker.stop() == 0
