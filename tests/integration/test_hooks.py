"""Hooks and middleware in real workers: each pool calls them after the record, as the job."""

from __future__ import annotations

import os

import pytest

from tests.integration import jobs
from tests.integration.test_pools import EACH_POOL, PLAIN, pool_queues, runs_coroutines
from tests.waiting import LONG

pytestmark = pytest.mark.once


@EACH_POOL
def test_hooks_of_each_pool_hear_of_the_end_that_the_row_has(runworker, folder, notes, pool):
    jobs.be_heard.delay(folder)
    if also := runs_coroutines(pool):
        jobs.be_heard_async.delay(folder)
    jobs.be_heard_failing.delay(folder)
    jobs.be_heard_atomic.delay(folder)
    worker = runworker("-P", *pool, *pool_queues(pool), "--burst")
    assert worker.wait() == 0, worker.output()
    assert sorted(notes()) == [
        *["body"] * (3 + also),
        "on_failure FAILURE True",
        *["on_success SUCCESS True"] * (2 + also),
    ]


@EACH_POOL
@pytest.mark.parametrize("function", [jobs.be_heard, jobs.be_heard_async, jobs.be_heard_failing])
def test_middleware_of_each_pool_goes_around_body_and_hooks(
    runworker, folder, notes, pool, function, monkeypatch
):
    if function is jobs.be_heard_async and not runs_coroutines(pool):
        pytest.skip("this pool refuses coroutines")
    monkeypatch.setenv("TEST_MIDDLEWARE", "tests.integration.jobs.note_around")
    result = function.delay(folder)
    worker = runworker("-P", *pool, *pool_queues(pool), "--burst")
    assert worker.wait() == 0, worker.output()
    status = result.status
    hook = {"SUCCESS": "on_success", "FAILURE": "on_failure"}[status]
    assert notes() == ["in", "body", f"{hook} {status} True", f"out {status}"]


def test_worker_does_not_start_with_middleware_that_it_cannot_import(runworker, monkeypatch):
    monkeypatch.setenv("TEST_MIDDLEWARE", "tests.integration.jobs.gone")
    worker = runworker(*PLAIN, "--burst")
    assert worker.wait() != 0
    assert "MIDDLEWARE names 'tests.integration.jobs.gone'" in worker.output()


def test_hook_that_hangs_is_killed_by_the_hard_limit_and_the_job_keeps_its_end(
    runworker, until, folder, notes
):
    result = jobs.hang_in_a_hook.delay(folder)
    worker = runworker("-c", "1")
    until(lambda: "killing pid" in worker.output())
    after = jobs.mark.delay(folder, "after")
    assert after.get(timeout=LONG) == "after"
    body, hook, last = notes()
    assert (body, last) == ("body", "after")
    assert f"killing pid={hook.split()[1]} job={result.id}" in worker.output()
    assert (result.status, result.job.crashes, result.job.attempts.count()) == ("SUCCESS", 0, 0)
    assert worker.stop() == 0
    assert int(hook.split()[1]) != os.getpid()
