"""run_jobs() runs what is ready, as a worker does."""

from __future__ import annotations

import contextlib
import datetime
import traceback
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections

from django_jobs import Ignore, chain, chord, current_job, group, job
from django_jobs.control import pause_queue, resume_queue
from django_jobs.exceptions import JobFailed, JobNotCommitted, UnknownJob
from django_jobs.models import Job, Worker
from django_jobs.testing import arun_jobs, run_jobs
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


def test_ready_jobs_run_by_priority_then_age() -> None:
    for number, priority in enumerate([0, 5, 0, 9]):
        jobs.add.apply_async((number,), priority=priority)
    ran = run_jobs()
    assert [(each.args, each.result, each.status, each.attempt) for each in ran] == [
        ([3], 3, "SUCCESS", 1),
        ([1], 1, "SUCCESS", 1),
        ([0], 0, "SUCCESS", 1),
        ([2], 2, "SUCCESS", 1),
    ]
    assert {each.name for each in ran} == {"tests.jobs.add"}
    assert [each.job.get(timeout=0) for each in ran] == [3, 1, 0, 2]
    assert run_jobs() == []


def test_jobs_that_jobs_enqueue_run_too_the_most_urgent_first() -> None:
    @job
    def outer() -> None:
        jobs.add.delay(1)
        jobs.add.apply_async((2,), priority=1)

    outer.delay()
    jobs.add.delay(3)
    assert [each.args for each in run_jobs()] == [[], [2], [3], [1]]


def test_rows_are_those_that_a_worker_writes() -> None:
    result = jobs.tell_request.apply_async((1,), headers={"a": 1})
    (ran,) = run_jobs()
    told = result.get(timeout=0)
    assert ran.result == told
    assert (told["is_eager"], told["worker"], told["headers"]) == (False, "run_jobs", {"a": 1})
    row = Job.objects.get()
    assert row.started_at is not None
    assert row.ended_at is not None
    assert row.started_at <= row.ended_at


@job
def double(price: Decimal, *, due: datetime.date | None = None) -> Decimal:
    return price * 2


def test_attempt_has_the_values_of_the_body_and_of_get() -> None:
    due = datetime.date(2030, 1, 31)
    single = double.delay(Decimal("1.10"), due=due)
    both = chain(double.s(Decimal("1.10")), double.s()).delay()
    ran = run_jobs()
    assert [(each.args, each.kwargs, each.result) for each in ran] == [
        ([Decimal("1.10")], {"due": due}, Decimal("2.20")),
        ([Decimal("1.10")], {}, Decimal("2.20")),
        ([Decimal("2.20")], {}, Decimal("4.40")),
    ]
    assert (single.get(timeout=0), both.get(timeout=0)) == (ran[0].result, ran[2].result)


def test_attempt_at_arguments_that_do_not_convert_shows_their_json() -> None:
    double.delay("much")  # type: ignore[arg-type]
    (ran,) = run_jobs(raise_errors=False)
    assert (ran.status, ran.args, ran.result) == ("FAILURE", ["much"], None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"queue": 5}, "takes the name of a queue or a list of names, got an int"),
        ({"until": 5}, "takes a handle, as delay.. returns it, or a function, got an int"),
        ({"travel": contextlib.nullcontext}, "needs at=, the moment to travel to"),
    ],
)
def test_run_refuses_what_it_cannot_use(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        run_jobs(**wrong)


def test_wait_for_a_job_that_did_not_run_tells_to_run_it() -> None:
    result = jobs.add.delay(1)
    with pytest.raises(JobNotCommitted, match=r"In a test call django_jobs.testing.run_jobs\(\)"):
        result.get(timeout=60)
    run_jobs()
    assert result.get(timeout=0) == 1


def test_worker_of_the_run_is_gone_afterwards() -> None:
    @job
    def look() -> list[str]:
        return list(Worker.objects.live().values_list("name", flat=True))

    look.delay()
    (ran,) = run_jobs()
    assert ran.result == ["run_jobs"]
    assert not Worker.objects.exists()


# --- errors -------------------------------------------------------------------------------------


def test_exception_of_a_failed_job_leaves_with_its_traceback() -> None:
    result = jobs.fail.delay("so it is")
    behind = jobs.add.delay(1)
    with pytest.raises(ValueError, match="so it is") as caught:
        run_jobs()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "fail"
    assert f"Job tests.jobs.fail {result.id} ended as FAILURE." in caught.value.__notes__[0]
    assert (result.status, behind.status) == ("FAILURE", "PENDING")
    assert len(run_jobs()) == 1


def test_exception_is_returned_when_asked_for() -> None:
    jobs.fail.delay()
    jobs.add.delay(1)
    first, second = run_jobs(raise_errors=False)
    assert (first.status, first.result, str(first.error)) == ("FAILURE", None, "broken")
    assert (second.status, second.error) == ("SUCCESS", None)


def test_attempt_that_is_retried_raises_nothing() -> None:
    @job(autoretry_for=[ValueError], max_retries=1, retry_backoff=False, default_retry_delay=0)
    def flaky() -> None:
        raise ValueError(f"attempt {current_job.request.attempt}")

    result = flaky.delay()
    with pytest.raises(ValueError, match="attempt 2"):
        run_jobs()
    assert result.job.retries == 1
    flaky.delay()
    ran = run_jobs(raise_errors=False)
    assert [(each.status, each.attempt) for each in ran] == [("RETRY", 1), ("FAILURE", 2)]
    assert str(ran[0].error) == "attempt 1"


def test_failure_without_an_exception_is_raised_as_one() -> None:
    @job(bind=True)
    def give_up(self: Any) -> None:
        self.update_state(state="FAILURE", meta={"why": "no"})
        raise Ignore

    give_up.delay()
    with pytest.raises(JobFailed, match="ended its job as FAILURE"):
        run_jobs()


def test_job_without_a_function_is_an_error() -> None:
    jobs.add.delay(1)
    Job.objects.update(name="tests.jobs.gone")
    with pytest.raises(UnknownJob, match=r"tests\.jobs\.gone"):
        run_jobs()


def test_ctrl_c_in_a_body_leaves_in_any_case() -> None:
    @job
    def interrupted() -> None:
        raise KeyboardInterrupt

    interrupted.delay()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(raise_errors=False)


def test_it_cannot_be_called_inside_a_job() -> None:
    @job
    def inner() -> None:
        run_jobs()

    inner.delay()
    with pytest.raises(RuntimeError, match="inside a job"):
        run_jobs()


# --- bounds -------------------------------------------------------------------------------------


def test_job_that_enqueues_itself_for_ever_is_stopped() -> None:
    @job(name="tests.again")
    def again() -> None:
        again.delay()

    again.delay()
    with pytest.raises(AssertionError, match=r"ran 30 attempts.*tests\.again \(30×\)"):
        run_jobs(limit=30)
    assert Job.objects.count() == 31


def test_limit_of_attempts_is_no_error_when_no_more_are_ready() -> None:
    jobs.add.delay_many([(1,), (2,)])
    assert len(run_jobs(limit=2)) == 2


def test_until_a_handle_is_ready() -> None:
    first, second, third = jobs.add.delay_many([(1,), (2,), (3,)])
    assert [each.args for each in run_jobs(until=second)] == [[1], [2]]
    assert [each.args for each in run_jobs(until=first)] == []
    members = group(jobs.add.s(4), jobs.add.s(5)).apply_async()
    jobs.add.delay(6)
    assert [each.args for each in run_jobs(until=members)] == [[3], [4], [5]]
    assert third.ready()


def test_until_a_condition_holds() -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    ended = Job.objects.filter(status="SUCCESS")
    assert len(run_jobs(until=lambda: ended.count() == 2)) == 2


def test_condition_that_does_not_come_is_an_error() -> None:
    later = jobs.add.apply_async((1,), countdown=60)
    with pytest.raises(AssertionError, match=f"ran 0 attempts.*{later.id} is SCHEDULED.*at="):
        run_jobs(until=later)
    with pytest.raises(AssertionError, match="did not come: these"):
        run_jobs(until=lambda: False)


# --- queues, workflows, limits --------------------------------------------------------------------


def test_only_jobs_of_the_queues_run() -> None:
    jobs.add.delay(1)
    jobs.send.delay(2)
    jobs.add.apply_async((3,), queue="other")
    assert [each.queue for each in run_jobs("mail")] == ["mail"]
    assert {each.queue for each in run_jobs(["default", "other"])} == {"default", "other"}
    assert run_jobs("nothing") == []


def test_paused_queue_is_left_alone() -> None:
    pause_queue("mail")
    jobs.send.delay(1)
    jobs.add.delay(2)
    assert [each.name for each in run_jobs()] == ["tests.jobs.add"]
    jobs.add.delay(3)
    assert len(run_jobs(limit=1)) == 1
    resume_queue("mail")
    assert [each.name for each in run_jobs()] == ["tests.jobs.send"]


def test_workflow_runs_to_its_end() -> None:
    result = chord(
        [jobs.add.s(1), jobs.add.s(2)], chain(jobs.echo.s(), jobs.echo.s())
    ).apply_async()
    assert len(run_jobs()) == 4
    assert result.get(timeout=0) == [[[[[1, 2]], {}]], {}]


def test_failure_fails_its_dependents_and_calls_errbacks() -> None:
    seen: list[str] = []

    @job
    def told(failure: dict[str, Any]) -> None:
        seen.append(failure["error_class"])

    result = chain(jobs.fail.s(), jobs.add.si(1)).on_error(told.s()).apply_async()
    statuses = [each.status for each in run_jobs(raise_errors=False)]
    assert (statuses, result.status) == (["FAILURE", "SUCCESS"], "FAILURE")
    assert seen == ["builtins.ValueError"]


def test_jobs_under_a_concurrency_limit_run_one_after_the_other() -> None:
    @job(concurrency=1)
    def single(number: int) -> int:
        return Job.objects.filter(status="STARTED").count()

    single.delay_many([(1,), (2,), (3,)])
    assert [each.result for each in run_jobs()] == [1, 1, 1]


def test_jobs_over_a_rate_limit_stay_for_later() -> None:
    @job(rate_limit="2/h")
    def rare(number: int) -> int:
        return number

    results = rare.delay_many([(1,), (2,), (3,)])
    assert [each.result for each in run_jobs()] == [1, 2]
    assert results[2].status == "SCHEDULED"


def test_unique_job_runs_once() -> None:
    @job(unique=True)
    def single() -> None: ...

    assert single.delay().id == single.delay().id
    assert len(run_jobs()) == 1
    single.delay()
    assert len(run_jobs()) == 1


def test_expired_job_is_revoked_without_an_error() -> None:
    jobs.add.apply_async((1,), expires=-1)
    (ran,) = run_jobs()
    assert (ran.status, ran.error) == ("REVOKED", None)


def test_progress_is_in_the_row() -> None:
    @job(bind=True)
    def show(self: Any) -> dict[str, Any]:
        self.progress(1, 2, "half")
        progress: dict[str, Any] = Job.objects.get().progress
        return progress

    show.delay()
    (ran,) = run_jobs()
    assert ran.result["message"] == "half"


# --- databases and coroutines -------------------------------------------------------------------


@pytest.mark.django_db(databases=["default", "reports"])
def test_jobs_of_all_databases_run(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    jobs.add.delay(1)
    result = jobs.add.apply_async((2,), queue="reports")
    assert [each.args for each in run_jobs("reports")] == [[2]]
    assert result.get(timeout=0) == 2
    jobs.add.apply_async((3,), queue="reports")
    assert sorted(each.args for each in run_jobs()) == [[1], [3]]
    assert Job.objects.using("reports").count() == 2


def test_databases_that_the_test_may_not_use_are_left_out(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    jobs.add.delay(1)
    assert len(run_jobs()) == 1


async def _in_a_coroutine() -> list[Any]:
    await jobs.add_async.adelay(1, 2)
    return [each.result for each in await arun_jobs()]


def test_it_runs_from_a_coroutine() -> None:
    assert async_to_sync(_in_a_coroutine)() == [3]


def test_coroutines_use_the_connection_of_the_test() -> None:
    @job
    async def count() -> int:
        return await Job.objects.acount()

    count.delay()
    (ran,) = run_jobs()
    assert ran.result == 1


@pytest.mark.django_db(transaction=True)
def test_it_runs_outside_of_a_transaction() -> None:
    @job(atomic=True)
    def inside() -> bool:
        return connections["default"].in_atomic_block

    assert not connections["default"].in_atomic_block
    inside.delay()
    jobs.add_async.delay(1, 2)
    assert [each.result for each in run_jobs()] == [True, 3]
    assert not Worker.objects.exists()
