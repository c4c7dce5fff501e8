"""A body that raises what ends a process ends its own job, and nothing else notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs import TimeLimitExceeded
from django_jobs.models import Job, Worker
from tests.integration import jobs, tasks
from tests.integration.test_pools import EACH_POOL, PLAIN, pool_queues, runs_coroutines
from tests.waiting import LONG

pytestmark = pytest.mark.once


@EACH_POOL
def test_exception_that_ends_a_process_fails_the_job_alone(runworker, folder, pool):
    coroutines = (tasks.raise_end_async, tasks.raise_end_in_a_task) * runs_coroutines(pool)
    guilty = [
        function.delay(name) for name in tasks.ENDS for function in (tasks.raise_end, *coroutines)
    ]
    innocent = jobs.mark.delay(folder, "ran")
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool))
    assert worker.wait() == 0, worker.output()
    assert {result.status for result in guilty} == {"FAILURE"}
    for result in guilty:
        assert result.job.error_class.rpartition(".")[2] == result.job.args[0]
    assert innocent.get(timeout=1) == "ran"
    assert set(Job.objects.values_list("claims", "crashes")) == {(1, 0)}
    processes = int(pool[2]) if pool[0] == "prefork" else 1
    assert Worker.objects.count() == processes


def test_job_that_ends_the_loop_or_its_tasks_leaves_the_asyncio_pool_running(
    runworker, until, folder, notes
):
    innocent = jobs.hold_async.delay(folder)
    worker = runworker("-P", "asyncio", "-c", "10", *PLAIN)
    until(notes)
    for name in ("SystemExit", "KeyboardInterrupt"):
        with pytest.raises(Exception, match="the body's own"):
            tasks.raise_end_in_a_task.delay(name).get(timeout=LONG)
    assert tasks.stop_the_loop.delay().get(timeout=LONG) == "went on"
    assert innocent.status == "STARTED"
    Path(folder, "go").touch()
    assert innocent.get(timeout=LONG) is None
    cancelling = tasks.cancel_all_tasks.delay()
    until(lambda: cancelling.status == "FAILURE")
    assert jobs.mark_async.delay(folder, "after").get(timeout=LONG) == "after"
    assert worker.stop() == 0, worker.output()
    assert Worker.objects.count() == 1


def test_coroutine_that_holds_its_thread_holds_no_other_job_up(runworker, until, folder, notes):
    holding = tasks.hold_the_orm_thread.delay(folder)
    worker = runworker("-P", "asyncio", "-c", "10", "-Q", "default,coroutines")
    until(notes)
    assert jobs.mark_async.delay(folder, "quick").get(timeout=LONG) == "quick"
    assert tasks.count_groups_async.delay().get(timeout=LONG) == 0
    with pytest.raises(TimeLimitExceeded):
        tasks.outlive_the_limit_in_a_thread.delay(folder).get(timeout=LONG)
    left_open = tasks.leave_transaction_open_async.delay()
    until(lambda: left_open.status == "FAILURE")
    assert left_open.job.error_class.endswith("TransactionLeftOpen")
    assert tasks.count_groups_async.delay().get(timeout=LONG) == 0
    assert holding.status == "STARTED"
    Path(folder, "go").touch()
    holding.get(timeout=LONG)
    assert worker.stop() == 0, worker.output()
