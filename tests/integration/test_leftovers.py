"""A job leaves things in its process: later jobs run as before, or the worker replaces it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from django.contrib.auth.models import Group

from django_jobs.models import Job
from tests.integration import jobs, leftovers, tasks
from tests.integration.test_pools import EACH_POOL_ON_ONE_DATABASE, pool_queues
from tests.integration.with_gevent import WITH_GEVENT, to_greenlets
from tests.waiting import LONG

FEW_FILES = ("sh", "-c", 'ulimit -Sn 128; exec "$@"', "sh")
#: One job at a time, so that no other one runs while a job has all files.
ONE_AT_A_TIME = [
    ("prefork", "-c", "1"),
    pytest.param(("threads", "-c", "1"), marks=pytest.mark.once),
    pytest.param(("asyncio", "-c", "1"), marks=pytest.mark.once),
    pytest.param(
        ("gevent", "-c", "1", "--connections", "1"), marks=[pytest.mark.once, WITH_GEVENT]
    ),
]


@pytest.mark.parametrize("pool", ONE_AT_A_TIME, ids=lambda pool: pool[0])
def test_process_whose_files_a_job_keeps_is_replaced(runworker, pool):
    greedy = leftovers.open_until_refused.delay()
    modest = leftovers.open_a_file_and_a_session.delay_many([()] * 5)
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool), prefix=FEW_FILES)
    assert worker.wait() == 0, worker.output()
    assert greedy.status == "SUCCESS", worker.output()
    pids = {result.get(timeout=LONG) for result in modest}
    assert greedy.get(timeout=LONG) not in pids, worker.output()
    assert len(pids) == 1
    assert set(Job.objects.values_list("status", "crashes")) == {("SUCCESS", 0)}
    (line,) = [line for line in worker.output().splitlines() if "process is replaced" in line]
    assert f"job={greedy.id}" in line
    assert "of the 128 descriptors of their process" in line


@pytest.mark.parametrize("pool", ONE_AT_A_TIME[:2], ids=lambda pool: pool[0])
def test_files_that_the_collector_closes_replace_no_process(runworker, pool):
    untidy, modest = leftovers.open_in_cycles.delay(), leftovers.open_a_file_and_a_session.delay()
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool), prefix=FEW_FILES)
    assert worker.wait() == 0, worker.output()
    assert modest.get(timeout=LONG) == untidy.get(timeout=LONG)
    assert "process is replaced" not in worker.output()


@EACH_POOL_ON_ONE_DATABASE
def test_thread_that_a_job_leaves_harms_no_job_and_no_stop(runworker, until, folder, notes, pool):
    guilty = leftovers.leave_a_thread.delay(folder)
    flags = pool_queues(pool)
    worker = runworker("-P", *pool, *flags)
    guilty.get(timeout=LONG)
    Path(folder, "write").touch()
    until(notes)
    assert Group.objects.filter(name="later").count() == 1
    later = jobs.count_groups.apply_async(queue=flags[1] if flags else None)
    assert later.get(timeout=LONG) == 1
    assert worker.stop() == 0, worker.output()
    assert "the grace period is over" not in worker.output()
    assert set(Job.objects.values_list("status", "claims")) == {("SUCCESS", 1)}


@WITH_GEVENT
def test_what_a_greenlet_changed_ends_with_its_job(runworker):
    names = (
        "look_around", "change_everything", "look_around", "close_below_django", "look_around",
        "end_its_transaction", "look_around",
    )  # fmt: skip
    results = [getattr(leftovers, name).delay() for name in names]
    worker = runworker("-P", "gevent", "-c", "1", "--burst", *to_greenlets())
    assert worker.wait() == 0, worker.output()
    expected = results[0].get(timeout=LONG)
    assert [result.get(timeout=LONG) for result in results[2::2]] == [expected] * 3
    assert "another handler for SIGTERM" in worker.output()
    assert "another resource limit" in worker.output()
    assert [result.status for result in results[1::2]] == ["SUCCESS", "SUCCESS", "FAILURE"]
    assert "its own ROLLBACK ended its transaction" in results[5].job.error_message


@EACH_POOL_ON_ONE_DATABASE
def test_job_that_tells_its_process_to_stop_ends_and_another_takes_over(runworker, pool):
    guilty = leftovers.tell_a_process_to_stop.delay()
    worker = runworker("-P", *pool, *(flags := pool_queues(pool)))
    pid = guilty.get(timeout=LONG)
    if pool[0] != "solo":
        later = leftovers.open_a_file_and_a_session.apply_async(queue=flags[1] if flags else None)
        assert later.get(timeout=LONG) != pid
        worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output()
    assert set(Job.objects.values_list("status", "claims")) == {("SUCCESS", 1)}


@pytest.mark.once
def test_job_that_tells_the_supervisor_to_stop_ends_like_the_others(runworker):
    guilty = leftovers.tell_a_process_to_stop.delay(parent=True)
    worker = runworker("-c", "1")
    assert worker.wait() == 0, worker.output()
    assert guilty.status == "SUCCESS"


@pytest.mark.parametrize("pool", ONE_AT_A_TIME[1:])
def test_job_that_ends_its_process_is_blamed_in_each_pool(runworker, folder, notes, pool):
    poison = tasks.leave_the_process.delay(folder, 0)
    innocent = jobs.mark.delay(folder, "ran")
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool))
    assert worker.wait() == 0, worker.output()
    assert innocent.get(timeout=LONG) == "ran"
    assert (poison.status, poison.job.crashes) == ("FAILURE", 3)
    assert worker.output().count("ended by itself with exit code 0") == 3
    assert innocent.job.crashes == 0
