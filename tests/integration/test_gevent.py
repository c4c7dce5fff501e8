"""What greenlets do that the other pools do not: hundreds of jobs that wait in one thread."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from django_jobs import SoftTimeLimitExceeded, TimeLimitExceeded
from django_jobs.management import greenlets as start
from django_jobs.models import Worker
from tests.integration import greenlets, jobs
from tests.integration.with_gevent import WITH_GEVENT, to_greenlets
from tests.waiting import LONG

pytestmark = WITH_GEVENT
GEVENT = ("-P", "gevent", "-Q", greenlets.QUEUE)


def test_command_starts_over_with_patches_and_runs_500_jobs_at_once(runworker):
    results = greenlets.meet.delay_many([(500,)] * 500)
    arguments = ("-c", "500", "--connections", "1", "--burst", "-Q", greenlets.QUEUE)
    worker = runworker(*arguments, prefix=("env", "TEST_POOL=gevent"))
    assert worker.wait() == 0, worker.output()
    assert {result.get(timeout=LONG) for result in results} == {"gevent._gevent_clocal gevent.hub"}
    assert "gevent, 1 process × 500 at a time" in worker.output()


def test_connections_are_bounded_and_go_from_job_to_job(runworker):
    one = greenlets.use_a_connection.delay_many([()] * 40)
    two = greenlets.use_a_connection.delay_many([("reports",)] * 20)
    worker = runworker(*GEVENT, "-c", "30", "--connections", "3", "--burst")
    assert worker.wait() == 0, worker.output()
    most, sessions = zip(*(result.get(timeout=LONG) for result in one + two), strict=True)
    assert max(most) == 3
    assert len(set(sessions)) == 3


def test_greenlets_keep_variables_time_zones_and_logs_apart(runworker):
    names = [str(number) for number in range(30)]
    kept = greenlets.keep_apart.delay_many([(name,) for name in names])
    logged = greenlets.log_its_name.delay_many([(name,) for name in names])
    assert runworker(*GEVENT, "-c", "30", "--burst").wait() == 0
    assert [result.get(timeout=LONG) for result in kept] == [
        [name, f"Etc/GMT+{int(name) % 12}"] for name in names
    ]
    for name, result in zip(names, logged, strict=True):
        assert [line.text for line in result.log] == [f"line of {name}"]


def test_transactions_that_wait_hold_up_only_each_other(runworker):
    results = greenlets.write_and_wait.delay_many([(str(number),) for number in range(8)])
    worker = runworker(*GEVENT, "-c", "10", "--burst")
    assert worker.wait() == 0, worker.output()
    assert [result.get(timeout=LONG) for result in results] == [1] * 8
    assert "locked" not in worker.output()


def test_limits_end_a_body_that_waits(runworker, folder):
    soft = greenlets.wait_a_little_too_long.delay(folder)
    hard = greenlets.wait_too_long.delay(folder)
    tidied = jobs.swallow_exceptions.delay(folder)
    loop = greenlets.run_a_loop.delay()
    forked = greenlets.fork.delay_many([()] * 3)
    worker = runworker(*GEVENT, "--burst", *to_greenlets())
    assert worker.wait() == 0, worker.output()
    with pytest.raises(SoftTimeLimitExceeded):
        soft.get(timeout=LONG)
    with pytest.raises(TimeLimitExceeded):
        hard.get(timeout=LONG)
    assert tidied.get(timeout=LONG) == "tidied up"
    assert "runs no event loop" in loop.job.error_message
    assert [result.get(timeout=LONG) for result in forked] == [[7, 0]] * 3
    assert "killing" not in worker.output()
    assert "CRITICAL" not in worker.output()


def test_hard_limit_kills_a_process_that_computes_and_blames_no_other_job(runworker, until, folder):
    held = [jobs.hold.delay(folder) for _ in range(3)]
    worker = runworker(*GEVENT, *to_greenlets())
    until(lambda: all(result.status == "STARTED" for result in held))
    hard = greenlets.compute_too_long.delay(folder)
    with pytest.raises(TimeLimitExceeded):
        hard.get(timeout=LONG)
    Path(folder, "go").touch()
    assert len({result.get(timeout=LONG) for result in held}) == 1
    assert {result.job.crashes for result in held} == {0}
    assert worker.stop() == 0


def test_body_that_computes_holds_up_no_heartbeat(runworker, until, folder):
    result = greenlets.compute.delay(folder)
    worker = runworker(*GEVENT, lease=2)
    until(Path(folder, "computes").exists)
    for _ in range(2):
        before = Worker.objects.get().lease_until
        until(lambda before=before: Worker.objects.get().lease_until > before)
    Path(folder, "go").touch()
    result.get(timeout=LONG)
    assert result.job.claims == 1
    assert worker.stop() == 0
    assert "CRITICAL" not in worker.output()
    assert "destroyed" not in worker.output(), "sockets of the supervisor's event loop"


def test_terminate_ends_a_body_that_waits_and_no_other(runworker, until, folder, notes):
    stuck, other = greenlets.wait_for_ever.delay(folder), jobs.hold.delay(folder)
    worker = runworker(*GEVENT, *to_greenlets())
    until(lambda: len(notes()) == 2)
    stuck.revoke(terminate=True)
    until(lambda: "ended" in notes())
    Path(folder, "go").touch()
    other.get(timeout=LONG)
    assert stuck.status == "REVOKED"
    assert worker.stop() == 0


def test_stops_finish_or_give_back_what_waits(runworker, until, folder, notes):
    warm = [jobs.hold.delay(folder) for _ in range(20)]
    worker = runworker(*GEVENT, "-c", "20", "--max-jobs-per-child", "30", *to_greenlets())
    until(lambda: len(notes()) == 20)
    worker.signal(15)
    until(lambda: "stopping" in worker.output())
    Path(folder, "go").touch()
    assert worker.wait() == 0
    assert {result.status for result in warm} == {"SUCCESS"}
    cold = [jobs.hold.delay(folder, "never") for _ in range(5)]
    worker = runworker(*GEVENT, *to_greenlets())
    until(lambda: len(notes()) == 25)
    worker.signal(3)
    assert worker.wait() == 0
    assert {(result.status, result.job.crashes) for result in cold} == {("PENDING", 0)}


def test_process_is_replaced_after_its_jobs(runworker, folder):
    Path(folder, "go").touch()
    results = [jobs.hold.delay(folder) for _ in range(12)]
    assert runworker(*GEVENT, "-c", "4", "--max-jobs-per-child", "5", "--burst",
                     *to_greenlets()).wait() == 0  # fmt: skip
    pids = [result.get(timeout=LONG) for result in results]
    assert sorted(pids.count(pid) for pid in set(pids)) == [2, 5, 5]


# --- refusals -----------------------------------------------------------------------------------


def test_async_def_is_refused_at_the_start() -> None:
    with pytest.raises(CommandError, match="mark_async: A gevent pool runs no async def"):
        call_command("runworker", "--pool", "gevent", "--queues", "default")


def test_program_that_has_no_patches_is_told_to_begin_with_them(monkeypatch) -> None:
    monkeypatch.setattr(start, "_refuse_drivers", lambda: None)
    with pytest.raises(CommandError, match=r"begin your program with .*monkey.patch_all\(\)"):
        call_command("runworker", "--pool", "gevent", "--queues", greenlets.QUEUE)


def test_mysqlclient_is_refused_with_the_driver_that_can(vendor) -> None:
    if vendor != "mysql":
        pytest.skip("of MariaDB and MySQL")
    with pytest.raises(CommandError, match=r"uses mysqlclient.*Use PyMySQL"):
        call_command("runworker", "--pool", "gevent", "--queues", greenlets.QUEUE)


def test_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"pip install 'django-background-jobs\[gevent\]'"):
        call_command("runworker", "--pool", "gevent", "--queues", greenlets.QUEUE)
