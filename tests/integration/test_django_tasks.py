"""What each pool does with the tasks of ``django.tasks``."""

from __future__ import annotations

from tests import tasks
from tests.integration.test_pools import EACH_POOL, pool_queues, runs_coroutines
from tests.task_names import TaskResultStatus


@EACH_POOL
def test_tasks_run_in_every_pool(runworker, pool):
    many = tasks.plus.enqueue_many([(n,) for n in range(50)])
    told, failed = tasks.tell.enqueue("x"), tasks.collapse.enqueue("nope")
    coroutines = (
        [tasks.plus_async.enqueue(1, b=2), tasks.tell_async.enqueue()]
        if runs_coroutines(pool)
        else []
    )
    sent = tasks.elsewhere.using(backend="default").enqueue(4)
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool))
    assert worker.wait() == 0, worker.output()
    for result in (*many, *coroutines, told, failed, sent):
        result.refresh()
    assert [result.return_value for result in many] == list(range(50))
    assert (told.return_value["workers"], told.return_value["attempt"]) == (told.worker_ids, 1)
    assert sent.return_value == 8
    if coroutines:
        added, told_async = coroutines
        assert added.return_value == 3
        assert told_async.return_value["workers"] == told_async.worker_ids
    assert failed.status == TaskResultStatus.FAILED
    assert [error.exception_class for error in failed.errors] == [ValueError]
    assert "receiver failed" not in worker.output()
