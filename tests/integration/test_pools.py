"""What each pool does with a job, from its claim to its end."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth.models import Group

from django_jobs import TimeLimitExceeded, send_event
from django_jobs.models import EventWait, Job, Worker
from tests.integration import jobs
from tests.integration.with_gevent import WITH_GEVENT, to_greenlets
from tests.waiting import LONG

EACH_POOL = pytest.mark.parametrize(
    "pool",
    [
        ("prefork", "-c", "2"),
        ("threads", "-c", "3"),
        ("asyncio", "-c", "10"),
        pytest.param(("gevent", "-c", "10", "--connections", "3"), marks=WITH_GEVENT),
        ("solo",),
    ],
    ids=lambda pool: pool[0],
)
#: The same, of which only the prefork pool runs on the other databases.
EACH_POOL_ON_ONE_DATABASE = pytest.mark.parametrize(
    "pool",
    [
        ("prefork", "-c", "2"),
        *(
            pytest.param(pool, marks=[pytest.mark.once, *marks])
            for pool, *marks in (
                (("threads", "-c", "3"),),
                (("asyncio", "-c", "10"),),
                (("gevent", "-c", "10", "--connections", "3"), WITH_GEVENT),
                (("solo",),),
            )
        ),
    ],
    ids=lambda pool: pool[0],
)
PLAIN = ("-Q", "default")


@EACH_POOL
def test_burst_runs_everything_and_exits(runworker, folder, notes, pool):
    sync = jobs.mark.delay_many([(folder, f"sync {n}") for n in range(200)])
    number = 50 if runs_coroutines(pool) else 0
    also = jobs.mark_async.delay_many([(folder, f"async {n}") for n in range(number)])
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool))
    assert worker.wait() == 0, worker.output()
    assert sorted(notes()) == sorted(
        [f"sync {n}" for n in range(200)] + [f"async {n}" for n in range(number)]
    )
    assert {result.status for result in sync + also} == {"SUCCESS"}
    assert sync[7].get() == "sync 7"
    assert not Worker.objects.live().exists()


@EACH_POOL
def test_failing_job_is_retried_when_its_time_comes(runworker, folder, notes, pool):
    result = jobs.fail_twice.delay(folder)
    worker = runworker("-P", *pool, *pool_queues(pool))
    assert result.get(timeout=LONG) == 2, worker.output()
    assert notes() == ["0", "1", "2"]
    assert result.job.attempts.count() == 2
    assert worker.stop() == 0


@EACH_POOL
def test_event_or_timeout_ends_a_wait(runworker, until, pool):
    paid, late = jobs.await_event.delay("paid"), jobs.await_event.delay("late", 0.5)
    worker = runworker("-P", *pool, *pool_queues(pool))
    until(EventWait.objects.filter(name="paid", is_new=False).exists)
    send_event("paid", 7)
    assert paid.get(timeout=LONG) == 7, worker.output()
    assert late.get(timeout=LONG) == "too late", worker.output()
    assert {result.job.retries for result in (paid, late)} == {0}
    assert worker.stop() == 0


@EACH_POOL
def test_annotated_types_come_back(runworker, pool):
    fee = jobs.Fee(Decimal("9.90"), datetime.datetime(2030, 1, 2, 3, 4, 5, 6, datetime.UTC))
    hour = datetime.timedelta(hours=1)
    plain = (jobs.later.s({fee}, hour) | jobs.later.s(hour)).apply_async()
    coroutine = (jobs.later_async if runs_coroutines(pool) else jobs.later).delay({fee}, hour * 2)
    failed = jobs.later.delay([{"amount": "x", "due": "x"}], hour)
    assert runworker("-P", *pool, "--burst", *pool_queues(pool)).wait() == 0
    wanted = {jobs.Fee(fee.amount, fee.due + 2 * hour)}
    assert plain.get(timeout=LONG) == coroutine.get(timeout=LONG) == wanted
    assert failed.status == "FAILURE"


@EACH_POOL
def test_orm_in_a_job_sees_the_committed_rows(runworker, pool):
    result = jobs.count_groups.delay()
    runworker("-P", *pool, "--burst", *pool_queues(pool)).wait()
    assert result.get(timeout=LONG) == 0


@EACH_POOL
def test_open_transaction_is_rolled_back_and_the_next_job_is_fine(runworker, pool):
    bad, good = [], []
    for number in range(3):
        bad += [jobs.leave_transaction_open.delay(), jobs.begin_with_sql.delay()]
        good += [jobs.write_group.delay(f"{number} {name}") for name in "abcd"]
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool))
    assert worker.wait() == 0, worker.output()
    assert {result.status for result in bad} == {"FAILURE"}
    assert {result.job.error_class.rsplit(".")[-1] for result in bad} == {"TransactionLeftOpen"}
    assert sorted(Group.objects.values_list("name", flat=True)) == [
        result.get(timeout=LONG) for result in good
    ]


@EACH_POOL
def test_progress_of_a_running_job_is_seen_from_outside(runworker, until, folder, pool):
    result = jobs.show_progress.delay(folder)
    worker = runworker("-P", *pool, *pool_queues(pool))
    until(lambda: result.progress)
    assert result.progress == {"done": 1, "total": 2, "message": "half done"}
    assert result.status == "STARTED"
    Path(folder, "go").touch()
    result.wait(LONG)
    assert worker.stop() == 0


@EACH_POOL
def test_job_is_left_for_a_worker_whose_code_can_run_it(runworker, until, pool, folder):
    newer = [jobs.mark.delay(folder, "never"), jobs.mark_async.delay(folder, "never")]
    Job.objects.update(kwargs={"new": 1})
    stranger = jobs.mark.delay(folder, "never")
    Job.objects.filter(pk=stranger.id).update(name="app.not_deployed_yet")
    good = jobs.mark.delay(folder, "ran")
    worker = runworker("-P", *pool, *pool_queues(pool))
    assert good.get(timeout=LONG) == "ran"
    until(lambda: all(result.job.deferrals == 1 for result in (stranger, *newer)))
    for result in newer:
        assert "unexpected argument 'new'" in result.job.error_message
    assert stranger.status in ("SCHEDULED", "PENDING", "STARTED")
    assert "No job function is named 'app.not_deployed_yet'" in stranger.job.error_message
    assert worker.stop() == 0
    warned = [line for line in worker.output().splitlines() if "name=app.not_deployed_yet" in line]
    assert " WARNING " in warned[0]
    assert "No job function is named 'app.not_deployed_yet'" in warned[0]


@EACH_POOL
def test_row_edited_into_nonsense_fails_with_a_reason(runworker, folder, pool):
    nonsense = jobs.mark.delay(folder, "never")
    Job.objects.filter(pk=nonsense.id).update(args={"no": "zzzz"})
    good = jobs.mark.delay(folder, "ran")
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool))
    assert worker.wait() == 0, worker.output()
    assert nonsense.status == "FAILURE"
    assert "args must be a JSON list" in nonsense.job.error_message
    assert good.get(timeout=LONG) == "ran"


@EACH_POOL
def test_error_around_the_body_fails_the_job_and_not_the_worker(runworker, folder, pool):
    also = jobs.never_begun_async if runs_coroutines(pool) else jobs.never_begun
    bad = [jobs.never_begun.delay(), also.delay()]
    good = jobs.mark.delay(folder, "ran")
    worker = runworker("-P", *pool, "--burst", *pool_queues(pool))
    assert worker.wait() == 0, worker.output()
    assert [result.status for result in bad] == ["FAILURE", "FAILURE"]
    assert {result.job.error_message for result in bad} == {"broken around the body"}
    assert {result.job.crashes for result in bad} == {0}
    assert good.get(timeout=LONG) == "ran"


def test_pool_that_cannot_hold_a_limit_refuses_to_start(runworker):
    worker = runworker("-P", "threads", "--burst")
    assert worker.wait() == 1
    assert "never_release_the_gil: A hard time limit cannot stop a thread" in worker.output()


def test_limits_of_an_asyncio_worker_are_for_coroutines(runworker, folder):
    plain, coroutine = jobs.count_groups.delay(), jobs.hold_async.delay(folder)
    worker = runworker("-P", "asyncio", "--time-limit", "0.2", "--burst", *PLAIN)
    assert worker.wait() == 0, worker.output()
    assert "only for async def" in worker.output()
    assert plain.get(timeout=LONG) == 0
    with pytest.raises(TimeLimitExceeded):
        coroutine.get(timeout=LONG)


def test_prefork_replaces_a_process_after_its_jobs(runworker, folder):
    results = [jobs.hold.delay(folder) for _ in range(6)]
    Path(folder, "go").touch()
    worker = runworker("-c", "1", "--max-jobs-per-child", "2", "--burst")
    assert worker.wait() == 0, worker.output()
    pids = [result.get(timeout=LONG) for result in results]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


def test_prefork_replaces_a_process_that_grew(runworker):
    results = [jobs.eat_memory.delay() for _ in range(2)]
    worker = runworker("-c", "1", "--max-memory-per-child", "200000", "--burst")
    assert worker.wait() == 0, worker.output()
    assert results[0].get(timeout=LONG) != results[1].get(timeout=LONG)


def pool_queues(pool: tuple[str, ...]) -> tuple[str, ...]:
    """Leave the queues of jobs out that the pool cannot run."""
    if pool[0] == "gevent":
        return to_greenlets()
    return () if pool[0] == "prefork" else PLAIN


def runs_coroutines(pool: tuple[str, ...]) -> bool:
    return pool[0] != "gevent"
