"""What real workers do with batches, in every pool."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group

from django_jobs.models import Command, Job
from django_jobs.status import Status
from tests.integration import batch_jobs, jobs
from tests.integration.test_pools import (
    EACH_POOL,
    EACH_POOL_ON_ONE_DATABASE,
    PLAIN,
    pool_queues,
    runs_coroutines,
)
from tests.waiting import LONG


@EACH_POOL_ON_ONE_DATABASE
def test_calls_run_in_batches_and_each_has_its_result(runworker, folder, notes, pool):
    results = batch_jobs.double.delay_many([(folder, n) for n in range(120)])
    if runs_coroutines(pool):
        results += batch_jobs.double_async.delay_many([(folder, n) for n in range(120)])
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool))
    assert worker.wait() == 0, worker.output()
    assert [result.get(timeout=LONG) for result in results[:120]] == [2 * n for n in range(120)]
    assert [result.get() for result in results[120:]] == [2 * n for n in range(len(results) - 120)]
    sizes = list(map(int, notes()))
    assert sum(sizes) == len(results)
    assert max(sizes) <= 50
    assert len(sizes) <= len(results) / 10


@EACH_POOL_ON_ONE_DATABASE
def test_calls_of_a_batch_end_each_in_its_own_way(runworker, pool):
    function = batch_jobs.several_ends
    if runs_coroutines(pool):
        function = batch_jobs.several_ends_async
    good, bad, again = function.delay_many([("", "good"), ("", "bad"), ("", "again")])
    worker = runworker("-P", *pool, *pool_queues(pool))
    assert again.get(timeout=LONG) == "again 1", worker.output()
    assert good.get(timeout=LONG) == "good 0"
    with pytest.raises(ValueError, match="a bad value"):
        bad.get(timeout=LONG)
    assert again.job.retries == 1
    assert worker.stop() == 0


@EACH_POOL
def test_atomic_batch_commits_with_its_outcomes(runworker, pool):
    results = batch_jobs.store.delay_many([(f"group {n}",) for n in range(20)])
    assert runworker("-P", *pool, "--burst", *pool_queues(pool)).wait() == 0
    assert {result.status for result in results} == {"SUCCESS"}
    assert Group.objects.count() == 20


@pytest.mark.parametrize("pool", [("prefork", "-c", "1"), ("threads", "-c", "3", *PLAIN)])
def test_poisonous_call_ends_alone(runworker, folder, notes, pool):
    values = [1, 2, "poison", 3]
    results = batch_jobs.poisoned.delay_many([(folder, value) for value in values])
    worker = runworker("-P", *pool)
    ends = [result.get(timeout=LONG, propagate=False) for result in results]
    assert [ends[0], ends[1], ends[3]] == [1, 2, 3], worker.output()
    assert results[2].job.error_class == "django_jobs.exceptions.WorkerLost"
    # Once together, and then each alone.
    assert notes()[0] == "4"
    assert set(notes()[1:]) == {"1"}
    assert worker.stop() == 0


def test_calls_that_run_at_most_once_are_lost_together(runworker, folder, notes):
    results = batch_jobs.poisoned_once.delay_many([(folder, n) for n in (1, 2, "poison")])
    worker = runworker("-c", "1")
    ends = [type(result.get(timeout=LONG, propagate=False)).__name__ for result in results]
    assert ends == ["WorkerLost"] * 3, worker.output()
    assert notes() == ["3"]
    assert worker.stop() == 0


def test_hard_limit_ends_every_call_of_the_batch(runworker, folder, notes):
    results = batch_jobs.hang.delay_many([(folder,)] * 3)
    worker = runworker("-c", "1")
    ends = [type(result.get(timeout=LONG, propagate=False)).__name__ for result in results]
    assert ends == ["RemoteTimeLimitExceeded"] * 3, worker.output()
    assert notes() == ["3"]
    assert {result.job.crashes for result in results} == {0}
    assert worker.stop() == 0


def test_soft_limit_ends_every_call_of_an_asynchronous_batch(runworker, folder, notes):
    results = batch_jobs.hang_async.delay_many([(folder,)] * 3)
    worker = runworker("-P", "asyncio", "-Q", "coroutines")
    ends = [type(result.get(timeout=LONG, propagate=False)).__name__ for result in results]
    assert ends == ["RemoteSoftTimeLimitExceeded"] * 3, worker.output()
    assert worker.stop() == 0


@EACH_POOL_ON_ONE_DATABASE
def test_held_calls_block_no_job_and_go_back_at_the_stop(runworker, folder, notes, until, pool):
    held = batch_jobs.held.delay_many([(folder,)] * 3)
    queues = pool_queues(pool)
    worker = runworker("-P", *pool, *queues)
    rows = Job.objects.filter(id__in=[result.id for result in held])
    until(lambda: rows.filter(status=Status.STARTED).count() == 3)
    queue = queues[1] if queues else "default"
    others = jobs.mark.delay_many([(folder, "other")] * 20, queue=queue)
    assert {other.get(timeout=LONG) for other in others} == {"other"}
    assert worker.stop() == 0
    assert {result.status for result in held} == {"PENDING"}
    assert set(notes()) == {"other"}


def test_burst_does_not_wait_for_more_calls(runworker, folder, notes):
    results = batch_jobs.held.delay_many([(folder,)] * 3)
    worker = runworker("-c", "1", "--burst")
    assert worker.wait() == 0, worker.output()
    assert {result.status for result in results} == {"SUCCESS"}
    assert notes() == ["3"]


def test_revoked_call_leaves_its_batch(runworker, folder, notes, until):
    first = batch_jobs.held.delay(folder)
    worker = runworker("-c", "1")
    until(lambda: first.status == "STARTED")
    assert first.revoke(terminate=True)
    until(lambda: Command.objects.exclude(done_at=None).exists())
    others = batch_jobs.held.delay_many([(folder,)] * 100)
    for other in others:
        other.get(timeout=LONG)
    assert notes() == ["100"], worker.output()
    assert first.status == "REVOKED"
    assert worker.stop() == 0


def test_revoke_of_a_running_call_stops_no_other(runworker, folder, notes, until):
    first, second = batch_jobs.until_revoked.delay_many([(folder,)] * 2)
    worker = runworker("-c", "1")
    until(lambda: notes() == ["2"])
    assert first.revoke(terminate=True)
    assert second.get(timeout=LONG) is False, worker.output()
    assert first.status == "REVOKED"
    assert second.job.crashes == 0
    assert worker.stop() == 0
