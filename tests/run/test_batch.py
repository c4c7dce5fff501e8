"""One attempt at the calls of a batch: each has its own outcome, hooks, log and secrets."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import override_settings

from django_jobs import (
    BatchError,
    Call,
    Ignore,
    JobContext,
    Reject,
    Retry,
    Snooze,
    current_job,
    job,
    progress,
    signals,
    step,
)
from django_jobs.models import Job, Worker
from django_jobs.run.batch import execute_batch, execute_batch_async
from django_jobs.run.environment import Environment
from django_jobs.run.record import record
from django_jobs.run.record_apart import record_apart
from django_jobs.testing import run_jobs
from django_jobs.values import Claimed, Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

RunBatch = Callable[..., list[Outcome]]
SECRET = "hunter2-hunter2"


@pytest.fixture
def run_batch(take: Callable[..., list[Claimed]], worker: Worker) -> RunBatch:
    """Enqueue a call for each of the values and run them as one batch, as a pool does."""

    def confirm_all(outcomes: Any) -> list[Outcome | None]:
        counted = {id(each.job): each for each in record_apart(worker.pk, outcomes, "default")}
        return [counted.get(id(each.job)) for each in outcomes]

    def commit(outcomes: Any) -> bool:
        return len(record(worker.pk, outcomes, "default")) == len(outcomes)

    def run(function: Any, *values: Any, **options: Any) -> list[Outcome]:
        function.delay_many([(value,) for value in values], **options)
        environment = Environment(
            worker_name="w",
            commit=commit,
            confirm=lambda outcome: confirm_all([outcome])[0],
            confirm_all=confirm_all,
        )
        outcomes = execute_batch(take(), environment)
        record_apart(
            worker.pk,
            [each for each in outcomes if not each.recorded and not each.told],
            "default",
        )
        return outcomes

    return run


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [str(outcome.status) for outcome in outcomes]


def rows() -> list[Job]:
    return list(Job.objects.order_by("id"))


# --- results ------------------------------------------------------------------------------------


def test_each_call_gets_its_result(run_batch: RunBatch) -> None:
    sizes = []

    @job(batch_size=10)
    def double(calls: list[Call]) -> list[int]:
        sizes.append(len(calls))
        return [2 * call.args[0] for call in calls]

    assert statuses(run_batch(double, 1, 2, 3)) == ["SUCCESS"] * 3
    assert [row.result for row in rows()] == [2, 4, 6]
    assert sizes == [3]


def test_call_knows_its_job(run_batch: RunBatch) -> None:
    seen: list[Call] = []

    @job(batch_size=10)
    def look(calls: list[Call]) -> None:
        seen.extend(calls)

    run_batch(look, 1, 2, headers={"tenant": "a"})
    assert [call.id for call in seen] == [str(row.id) for row in rows()]
    assert {call.headers["tenant"] for call in seen} == {"a"}
    assert (seen[0].args, seen[0].kwargs, seen[0].retries) == ([1], {}, 0)
    assert "tenant" not in repr(seen[0])


def test_none_is_the_result_of_every_call(run_batch: RunBatch) -> None:
    @job(batch_size=10)
    def store(calls: list[Call]) -> None:
        pass

    assert statuses(run_batch(store, 1, 2)) == ["SUCCESS"] * 2
    assert [row.result for row in rows()] == [None, None]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "returned 1 results for 2 calls. Return one result for each call, in order."),
        ([1, 2, 3], "returned 3 results for 2 calls"),
        ("ab", "returned a str for a batch. Return a list with one result for each call"),
        ({0: 1}, "returned a dict for a batch"),
        (BatchError({2: OSError()}), "raised BatchError for call 2 of 2"),
        (BatchError({-1: OSError()}), "raised BatchError for call -1 of 2"),
        (BatchError({0: OSError()}, [1]), "returned 1 results for 2 calls"),
    ],
)
def test_unusable_results_fail_every_call_without_a_retry(
    run_batch: RunBatch, value: Any, message: str
) -> None:
    @job(batch_size=10, autoretry_for=[Exception])
    def returns(calls: list[Call]) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    assert statuses(run_batch(returns, 1, 2)) == ["FAILURE"] * 2
    assert all(message in row.error_message for row in rows()), rows()[0].error_message


def test_result_that_is_no_json_fails_its_call_alone(run_batch: RunBatch) -> None:
    @job(batch_size=10)
    def returns(calls: list[Call]) -> list[Any]:
        return [1, object()]

    assert statuses(run_batch(returns, 1, 2)) == ["SUCCESS", "FAILURE"]


def test_types_of_arguments_and_results_come_back(run_batch: RunBatch) -> None:
    seen: list[Any] = []

    def fee(amount: Decimal) -> None: ...

    @job(batch_size=10, call_signature=fee)
    def add(calls: list[Call]) -> list[Decimal]:
        seen.extend(call.args[0] for call in calls)
        return [call.args[0] + 1 for call in calls]

    run_batch(add, Decimal("1.50"))
    assert seen == [Decimal("1.50")]
    assert rows()[0].result == "2.50"
    assert add.result_type is not None


# --- errors -------------------------------------------------------------------------------------


def test_calls_in_a_batch_error_end_each_in_its_way(run_batch: RunBatch) -> None:
    @job(batch_size=10, autoretry_for=[OSError])
    def ends(calls: list[Call]) -> None:
        errors: dict[int, BaseException] = {
            1: ValueError("bad"), 2: OSError("away"), 3: Retry(countdown=5), 4: Snooze(60),
            5: Ignore(), 6: Reject("no"),
        }  # fmt: skip
        raise BatchError(errors, ["first", *[None] * 6])

    outcomes = run_batch(ends, *range(7))
    assert statuses(outcomes) == [
        "SUCCESS", "FAILURE", "RETRY", "RETRY", "SCHEDULED", "SUCCESS", "FAILURE",
    ]  # fmt: skip
    assert [row.retries for row in rows()] == [0, 0, 1, 1, 0, 0, 0]
    assert rows()[0].result == "first"
    assert rows()[1].error_class == "builtins.ValueError"


def test_plain_exception_is_that_of_every_call(run_batch: RunBatch) -> None:
    @job(batch_size=10, autoretry_for=[OSError], max_retries=1)
    def fails(calls: list[Call]) -> None:
        raise OSError("away")

    first, second = fails.delay_many([(1,), (2,)])
    Job.objects.filter(id=second.id).update(retries=1)
    assert statuses(run_batch(fails)) == ["RETRY", "FAILURE"]
    assert first.job.attempts.count() == second.job.attempts.count() == 1


@pytest.mark.parametrize(
    ("errors", "kind", "message"),
    [
        ([], TypeError, "takes a dict of exceptions by the indices of the calls, got list"),
        ({}, ValueError, "names no call"),
        ({"0": OSError()}, TypeError, "indices of the calls as whole numbers, got str"),
        ({True: OSError()}, TypeError, "as whole numbers, got bool"),
        ({0: "away"}, TypeError, "takes an exception for each index, got str for 0"),
    ],
)
def test_batch_error_refuses_what_it_cannot_use(errors: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        BatchError(errors)


def test_call_that_cannot_run_is_left_out(run_batch: RunBatch) -> None:
    sizes = []

    def one(number: Decimal) -> None: ...

    @job(batch_size=10, call_signature=one)
    def count(calls: list[Call]) -> None:
        sizes.append(len(calls))

    count.delay_many([(Decimal(1),), (Decimal(2),), (Decimal(3),)], expires=3600)
    misfit, late, _good = rows()
    Job.objects.filter(id=misfit.id).update(args=["x"])
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    Job.objects.filter(id=late.id).update(expires_at=past)
    assert statuses(run_batch(count)) == ["FAILURE", "REVOKED", "SUCCESS"]
    assert sizes == [1]


def test_error_shows_no_secret_of_another_call(run_batch: RunBatch) -> None:
    def login(password: str) -> None: ...

    @job(batch_size=10, call_signature=login)
    def fails(calls: list[Call]) -> None:
        raise ValueError(f"refused {calls[1].args[0]}")

    run_batch(fails, "another-password", SECRET)
    for row in rows():
        assert row.error_message == "refused ********"
        assert SECRET not in row.attempts.get().traceback


class Repeats(JobContext):
    def on_failure(self, exc: Any, job_id: Any, args: Any, kwargs: Any, einfo: str) -> None:
        raise RuntimeError(f"heard: {exc}")


def test_error_of_a_hook_or_a_receiver_shows_no_secret_of_another_call(
    run_batch: RunBatch, caplog: pytest.LogCaptureFixture
) -> None:
    def login(password: str) -> None: ...

    @job(batch_size=10, call_signature=login, base=Repeats)
    def fails(calls: list[Call]) -> None:
        raise ValueError(f"refused {calls[1].args[0]}")

    def receive(exception: Any, **_: Any) -> None:
        raise RuntimeError(f"heard: {exception}")

    signals.job_failure.connect(receive)
    try:
        run_batch(fails, "another-password", SECRET)
    finally:
        signals.job_failure.disconnect(receive)
    assert caplog.text.count("heard: refused ********") >= 4
    assert SECRET not in caplog.text


# --- the running job, hooks, middleware ---------------------------------------------------------


REFUSED = (
    "retry", "replace", "add_to_chord", "update_state", "progress", "step", "asleep", "iterate",
    "gather", "run", "wait_for_event", "ask",
)  # fmt: skip


@step
def charge(amount: int) -> int:
    return amount


def test_methods_of_one_job_are_refused_in_a_batch(run_batch: RunBatch) -> None:
    refused = []

    @job(batch_size=10)
    def look(calls: list[Call]) -> None:
        assert current_job
        assert current_job.request.id is None
        for name in REFUSED:
            with pytest.raises(RuntimeError, match="belongs to one job, and a batch runs several"):
                getattr(current_job, name)
            refused.append(name)
        with pytest.raises(RuntimeError, match=r"progress\(\) belongs to one job"):
            progress(1)
        with pytest.raises(RuntimeError, match=r"step\(\) belongs to one job"):
            charge(1)

    assert statuses(run_batch(look, 1, 2)) == ["SUCCESS"] * 2
    assert len(refused) == len(REFUSED)


def test_jobs_of_a_batch_have_no_parent(run_batch: RunBatch) -> None:
    @job(batch_size=10)
    def spawns(calls: list[Call]) -> None:
        jobs.add.delay(1)

    assert statuses(run_batch(spawns, 1, 2)) == ["SUCCESS"] * 2
    row = Job.objects.get(name=jobs.add.name)
    assert (row.parent_id, row.root_id) == (None, None)


class Hooks(JobContext):
    heard: list[tuple[str, str]] = []

    def before_start(self, job_id: Any, args: Any, kwargs: Any) -> None:
        assert current_job.request.id == job_id
        self.heard.append(("start", args[0]))

    def on_success(self, retval: Any, job_id: Any, args: Any, kwargs: Any) -> None:
        assert Job.objects.get(id=job_id).status == "SUCCESS"
        assert current_job.request.id == job_id
        self.heard.append((retval, args[0]))

    def on_failure(self, exc: Any, job_id: Any, args: Any, kwargs: Any, einfo: str) -> None:
        assert Job.objects.get(id=job_id).status == "FAILURE"
        self.heard.append((str(exc), args[0]))


def test_hooks_are_called_for_each_call(run_batch: RunBatch) -> None:
    Hooks.heard.clear()

    @job(batch_size=10, base=Hooks)
    def ends(calls: list[Call]) -> None:
        raise BatchError({1: ValueError("bad")}, ["good", None])

    run_batch(ends, "a", "b")
    assert Hooks.heard == [("start", "a"), ("start", "b"), ("good", "a"), ("bad", "b")]


def test_receivers_and_the_log_hear_of_each_call(
    run_batch: RunBatch, job_lines: Callable[[int], list[str]]
) -> None:
    heard: list[Any] = []

    def receive(job_id: Any, **_: Any) -> None:
        heard.append(str(job_id))

    @job(batch_size=10)
    def fails(calls: list[Call]) -> None:
        raise ValueError("bad")

    signals.job_failure.connect(receive)
    try:
        run_batch(fails, 1, 2)
    finally:
        signals.job_failure.disconnect(receive)
    ids = [str(row.id) for row in rows()]
    assert heard == ids
    assert [line.partition(" id=")[2].partition(" ")[0] for line in job_lines(40)] == ids


entered: list[str] = []


@contextlib.contextmanager
def around(context: JobContext) -> Iterator[None]:
    if context.request.args[0] == "refused":
        raise ValueError("not this one")
    entered.append(f"in {current_job.request.args[0]}")
    try:
        yield
    finally:
        status = context.outcome.status if context.outcome else None
        entered.append(f"out {current_job.request.args[0]} {status}")


@override_settings(DJANGO_JOBS={"MIDDLEWARE": [f"{__name__}.around"]})
def test_middleware_is_around_each_call(run_batch: RunBatch) -> None:
    entered.clear()
    sizes = []

    @job(batch_size=10)
    def count(calls: list[Call]) -> None:
        sizes.append(len(calls))
        raise BatchError({1: OSError()})

    assert statuses(run_batch(count, "a", "refused", "b")) == ["SUCCESS", "FAILURE", "FAILURE"]
    assert sizes == [2]
    assert entered == ["in a", "in b", "out b FAILURE", "out a SUCCESS"]


tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


class Tenant:
    """An async context manager that sets a variable for its job."""

    def __init__(self, context: JobContext) -> None:
        self.name = context.request.args[0]

    async def __aenter__(self) -> None:
        await asyncio.sleep(0)
        self.token = tenant.set(self.name)

    async def __aexit__(self, *_: object) -> None:
        entered.append(f"{self.name} sees {tenant.get()}")
        tenant.reset(self.token)


@override_settings(DJANGO_JOBS={"MIDDLEWARE": [f"{__name__}.Tenant"]})
def test_asynchronous_batch_has_variables_for_each_call(
    take: Callable[..., list[Claimed]],
) -> None:
    entered.clear()

    @job(batch_size=10)
    async def look(calls: list[Call]) -> list[str]:
        return [tenant.get() for call in calls]

    async def call(execution: Any) -> Any:
        return await execution.function.__wrapped__(*execution.args)

    async def confirm_all(outcomes: Any) -> Any:
        return outcomes

    look.delay_many([("a",), ("b",)])
    batch = execute_batch_async(take(), Environment(), call, confirm_all)
    outcomes = asyncio.run(batch)
    assert [outcome.value for outcome in outcomes] == ["nobody", "nobody"]
    assert entered == ["b sees b", "a sees a"]


def test_revoked_call_is_seen(run_batch: RunBatch) -> None:
    seen = []

    @job(batch_size=10)
    def look(calls: list[Call]) -> None:
        assert calls[0].context is not None
        calls[0].context.revoked = True  # as a pool's terminate() does
        seen.extend(call.revoked for call in calls)

    run_batch(look, 1, 2)
    assert seen == [True, False]
    assert not Call(args=[1]).revoked


def test_shortest_time_limit_holds_for_all(run_batch: RunBatch) -> None:
    limits = []

    @job(batch_size=10, time_limit=60)
    def look(calls: list[Call]) -> None:
        limits.append((current_job.request.time_limit, current_job.request.soft_time_limit))

    look.apply_async((1,), time_limit=30)
    look.apply_async((2,), soft_time_limit=10)
    run_batch(look)
    assert limits == [(30, 10)]


# --- atomic -------------------------------------------------------------------------------------


def test_atomic_batch_commits_its_writes_with_every_outcome(run_batch: RunBatch) -> None:
    @job(batch_size=10, atomic=True)
    def store(calls: list[Call]) -> None:
        Group.objects.create(name="written")
        raise BatchError({1: ValueError("bad"), 2: Retry(countdown=9)})

    outcomes = run_batch(store, 1, 2, 3)
    assert statuses(outcomes) == ["SUCCESS", "FAILURE", "RETRY"]
    assert [row.status for row in rows()] == statuses(outcomes)
    assert all(outcome.recorded for outcome in outcomes)
    assert Group.objects.filter(name="written").exists()


@pytest.mark.parametrize("value", [[1], [1, object()], OSError("away")])
def test_atomic_batch_is_rolled_back_as_a_whole(run_batch: RunBatch, value: Any) -> None:
    @job(batch_size=10, atomic=True)
    def store(calls: list[Call]) -> Any:
        Group.objects.create(name="written")
        if isinstance(value, BaseException):
            raise value
        return value

    assert statuses(run_batch(store, 1, 2)) == ["FAILURE"] * 2
    assert not Group.objects.exists()


def test_atomic_batch_without_one_of_its_jobs_runs_again(run_batch: RunBatch) -> None:
    @job(batch_size=10, atomic=True)
    def store(calls: list[Call]) -> None:
        Group.objects.create(name="written")
        Job.objects.filter(id=calls[0].id).update(claims=99)

    outcomes = run_batch(store, 1, 2)
    assert statuses(outcomes) == ["PENDING"] * 2
    assert not Group.objects.exists()


# --- without a worker ---------------------------------------------------------------------------


def test_apply_and_run_jobs_make_a_batch_of_each_call() -> None:
    sizes = []

    @job(batch_size=10)
    def double(calls: list[Call]) -> list[int]:
        sizes.append(len(calls))
        return [2 * call.args[0] for call in calls]

    assert double.apply((4,)).get() == 8
    results = double.delay_many([(1,), (2,)])
    run_jobs()
    assert [result.get() for result in results] == [2, 4]
    assert sizes == [1, 1, 1]


def test_direct_call_takes_the_list() -> None:
    @job(batch_size=10)
    def double(calls: list[Call]) -> list[int]:
        return [2 * call.args[0] for call in calls]

    assert double([Call(args=[1]), Call(args=[2])]) == [2, 4]


def test_calls_are_members_of_workflows() -> None:
    from django_jobs import chord

    @job(batch_size=10)
    def double(calls: list[Call]) -> list[int]:
        return [2 * call.args[0] for call in calls]

    result = chord([double.s(1), double.s(2)], jobs.echo.s()).apply_async()
    run_jobs()
    assert result.get() == [[[2, 4]], {}]
