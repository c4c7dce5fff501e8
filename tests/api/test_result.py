from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connections, transaction

from django_jobs import (
    ArgumentError,
    AsyncResult,
    JobDoesNotExist,
    JobFailed,
    JobRevoked,
    ResultSet,
    ResultTimeout,
    control,
    job,
)
from django_jobs.define.context import JobContext
from django_jobs.define.current import Request, running
from django_jobs.exceptions import (
    JobNotCommitted,
    RemoteSoftTimeLimitExceeded,
    RemoteTimeLimitExceeded,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    UpstreamFailed,
    WouldDeadlock,
)
from django_jobs.models import Attempt, Job
from django_jobs.values import Outcome
from django_jobs.workflows.upstream import UPSTREAM_FAILED, upstream_message
from tests import jobs
from tests.waiting import LONG

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Work = Callable[..., list[Outcome]]
NOBODY = uuid.UUID(int=1)


class OwnError(Exception):
    """An error that this process knows."""


class Shop:
    class Closed(Exception):
        """An error that stands in a class, as ``Model.DoesNotExist`` does."""


class Picky(Exception):
    """Its constructor formats, wants more than its args, and has an effect."""

    made = 0

    def __init__(self, number: int, *, limit: int) -> None:
        Picky.made += 1
        super().__init__(f"{number} is more than {limit}")
        self.number = number
        self.token = "s3cret"
        self.handle = object()


class Wordy(Exception):
    def __str__(self) -> str:
        return f"at {self.handle!r}"  # type: ignore[attr-defined]


def test_id_is_a_text_that_equals_the_uuid(work: Work) -> None:
    result = jobs.add.delay(1)
    assert isinstance(result.id, str)
    assert result.id == result.uuid
    assert result.uuid == result.id
    assert result.id != uuid.uuid4()
    assert json.loads(json.dumps({"id": result.id})) == {"id": str(result.uuid)}
    assert "id " + result.id == f"id {result.uuid}"
    assert Job.objects.get(pk=result.id).pk == result.id
    assert {str(result.uuid): 1}[result.id] == 1
    jobs.echo.delay(result.id)
    assert str(result.uuid) in str(work()[1].value)


def test_result_is_known_by_its_id_alone() -> None:
    result = jobs.add.delay(1)
    other: AsyncResult[int] = AsyncResult(str(result.id))
    assert other == result
    assert hash(other) == hash(result)
    assert other.name == "tests.jobs.add"
    assert str(other) == str(result.id)
    assert other.task_id == result.id


def test_result_of_no_uuid_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="A job's id is a UUID, got 'x'"):
        AsyncResult("x")


@pytest.mark.parametrize(
    "ask",
    [
        lambda result: result.status,
        lambda result: result.state,
        lambda result: result.result,
        lambda result: result.info,
        lambda result: result.progress,
        lambda result: result.traceback,
        lambda result: result.date_done,
        lambda result: result.name,
        lambda result: result.ready(),
        lambda result: result.successful(),
        lambda result: result.failed(),
        lambda result: result.get(timeout=5),
        lambda result: result.wait(),
        lambda result: result.forget(),
    ],
)
def test_unknown_id_is_an_error(ask: Callable[[AsyncResult[Any]], Any]) -> None:
    with pytest.raises(JobDoesNotExist, match=f"No job has the id {NOBODY}"):
        ask(AsyncResult(NOBODY))


def test_revoke_of_an_unknown_id_is_false() -> None:
    assert AsyncResult[Any](NOBODY).revoke() is False


def test_life_of_a_success(work: Work) -> None:
    result = jobs.add.delay(1, b=2)
    assert (result.status, result.ready(), result.result) == ("PENDING", False, None)
    assert result.date_done is None
    work()
    assert (result.status, result.ready(), result.successful(), result.failed()) == (
        "SUCCESS", True, True, False,
    )  # fmt: skip
    assert result.get(timeout=0) == result.result == result.info == 3
    assert result.traceback is None
    assert result.date_done is not None


def test_ended_result_is_read_once(work: Work, django_assert_num_queries: Any) -> None:
    result = jobs.add.delay(1)
    work()
    with django_assert_num_queries(1):
        assert result.ready()
        assert result.get() == 1
        assert result.status == result.state == "SUCCESS"


@pytest.mark.parametrize("together", [False, True])
def test_end_is_read_anew_after_a_retry(work: Work, together: bool) -> None:
    @job(max_retries=0)
    def once() -> int:
        if not Attempt.objects.exists():
            raise ValueError("declined")
        return 7

    result = once.delay()
    both = ResultSet([result])
    work()
    with pytest.raises(ValueError, match="declined"):
        both.get() if together else result.get()
    control.retry([result.id])
    assert (result.ready(), result.status, both.ready()) == (False, "PENDING", False)
    work()
    assert (result.get(), both.get()) == (7, [7])


def test_retry_leaves_what_ran_in_this_process() -> None:
    eager = jobs.add.apply((1,))
    failing = jobs.fail.delay()
    Job.objects.update(status="FAILURE")
    control.retry([failing.id])
    assert (eager.status, eager.get()) == ("SUCCESS", 1)


# --- failures -----------------------------------------------------------------------------------


def failed(work: Work, error: BaseException) -> AsyncResult[None]:
    @job(max_retries=0)
    def body() -> None:
        raise error

    result = body.delay()
    work()
    return result


def test_get_of_a_success_takes_one_query_and_outlives_the_row(
    work: Work, django_assert_num_queries: Any
) -> None:
    result = jobs.add.delay(2, 3)
    work()
    with django_assert_num_queries(1):
        assert result.get() == 5
        assert (result.status, result.state, result.info, result.result) == (
            "SUCCESS",
            "SUCCESS",
            5,
            5,
        )
        assert result.successful()
    with django_assert_num_queries(1):
        assert result.date_done is not None
        assert result.job.args == [2, 3]
    result = jobs.add.delay(4, 3)
    work()
    result.get()
    Job.objects.all().delete()
    assert result.get() == 7


def test_get_of_what_the_caller_enqueued_sleeps_while_it_cannot_have_ended(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = []
    monkeypatch.setattr("django_jobs.api.result._SOONEST_END", 3_600.0)
    monkeypatch.setattr("django_jobs.api.result.time.sleep", slept.append)
    result = jobs.add.delay(2, 3)
    work()
    assert result.get(timeout=0.5) == 5
    assert AsyncResult(result.id).get() == 5
    assert slept == [0.5, 0.0]


def test_get_raises_the_job_s_own_exception(work: Work) -> None:
    result = failed(work, OwnError("mine", 5))
    with pytest.raises(OwnError) as caught:
        result.get()
    assert caught.value.args == ("mine", 5)
    assert "The traceback in the worker:" in caught.value.__notes__[0]
    assert "test_result.py" in caught.value.__notes__[0]
    assert result.failed()
    assert "OwnError" in str(result.traceback)


def test_get_without_propagate_returns_the_exception(work: Work) -> None:
    result = failed(work, OwnError("mine"))
    assert isinstance(result.get(propagate=False), OwnError)
    assert isinstance(result.result, OwnError)
    assert isinstance(result.info, OwnError)


def test_exception_in_a_class_is_rebuilt(work: Work) -> None:
    with pytest.raises(Shop.Closed, match="on Sundays"):
        failed(work, Shop.Closed("on Sundays")).get()
    with pytest.raises(User.DoesNotExist, match="no ann"):
        failed(work, User.DoesNotExist("no ann")).get()


def test_exception_is_rebuilt_without_its_own_constructor(work: Work) -> None:
    result = failed(work, Picky(3, limit=2))
    made = Picky.made
    with pytest.raises(Picky) as caught:
        result.get()
    assert Picky.made == made
    assert str(caught.value) == "3 is more than 2"
    assert caught.value.number == 3
    assert caught.value.token != "s3cret"
    assert not hasattr(caught.value, "handle")


def test_os_error_keeps_its_file(work: Work) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        failed(work, FileNotFoundError(2, "No such file", "/tmp/f")).get()
    error = caught.value
    assert (error.errno, error.strerror, error.filename) == (2, "No such file", "/tmp/f")


def test_exception_that_cannot_be_shown_is_not_rebuilt(work: Work) -> None:
    with pytest.raises(JobFailed, match="Wordy"):
        failed(work, Wordy("x")).get()


@pytest.mark.parametrize(
    ("stopped", "wanted"),
    [
        (SoftTimeLimitExceeded, RemoteSoftTimeLimitExceeded),
        (TimeLimitExceeded, RemoteTimeLimitExceeded),
    ],
)
def test_time_limit_is_an_exception_where_one_waits(work: Work, stopped: Any, wanted: Any) -> None:
    result = failed(work, stopped("too long"))
    with pytest.raises(Exception, match="too long") as caught:
        result.get()
    assert type(caught.value) is wanted
    assert isinstance(caught.value, stopped)


@pytest.mark.parametrize(
    ("path", "args"),
    [
        ("os.system", '["true"]'),
        ("builtins.eval", '["1"]'),
        ("subprocess.Popen", '["true"]'),
        ("nowhere.Error", '["x"]'),
        ("", "[]"),
        ("builtins.ValueError", "null"),
        ("builtins.SystemExit", "[]"),
        ("builtins.KeyboardInterrupt", "[]"),
        ("django_jobs.models.Job", "[]"),
        ("builtins.UnicodeDecodeError", '["x"]'),
        ("builtins.StopIteration", "[]"),
        ("builtins.StopAsyncIteration", "[]"),
        ("sys.path", "[]"),
        ("os.environ", "[]"),
    ],
)
def test_row_builds_only_known_exceptions(work: Work, path: str, args: str) -> None:
    result = failed(work, ValueError("x"))
    Job.objects.update(error_class=path)
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE django_jobs_attempt SET error_args = %s", [args])
    with pytest.raises(JobFailed) as caught:
        result.get()
    assert (caught.value.error_class, caught.value.message) == (path, "x")
    assert "ValueError: x" in caught.value.traceback


def test_failed_job_that_blames_itself_is_read() -> None:
    result = jobs.add.delay(1, 2)
    message = upstream_message(result.uuid, "tests.jobs.add", "FAILURE")
    Job.objects.update(status="FAILURE", error_class=UPSTREAM_FAILED, error_message=message)
    with pytest.raises(UpstreamFailed, match=r"tests\.jobs\.add"):
        result.get()


@pytest.mark.parametrize("eager", [False, True, "raise"])
def test_awaited_job_that_ended_with_stop_iteration_raises(
    work: Work, settings: Any, eager: Any
) -> None:
    @job(name="tests.first_of_none")
    def first_of_none() -> Any:
        return next(iter(()))

    settings.DJANGO_JOBS = {"EAGER": eager}

    async def call() -> None:
        result = await first_of_none.adelay()
        if not eager:
            await sync_to_async(work)()
        await result.aget()

    async def call_in_time() -> None:
        await asyncio.wait_for(call(), LONG)

    with pytest.raises(JobFailed) as caught:
        async_to_sync(call_in_time)()
    assert caught.value.error_class == "builtins.StopIteration"
    assert "next(iter(()))" in caught.value.traceback


def test_get_of_a_revoked_job(work: Work) -> None:
    result = jobs.add.delay(1)
    assert result.revoke() is True
    with pytest.raises(JobRevoked, match="revoked"):
        result.get()
    assert result.get(propagate=False) is None
    assert result.status == "REVOKED"
    assert result.revoke() is False


# --- waiting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_get_times_out(timeout: float) -> None:
    result = AsyncResult[int](jobs.add.delay(1).id)  # a handle that another process may have
    with pytest.raises(ResultTimeout, match=f"not ended after {timeout} s. It is PEND") as caught:
        result.get(timeout=timeout)
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.django_db(transaction=True)
def test_get_waits_for_the_end() -> None:
    result = jobs.add.delay(1)

    def end() -> None:
        try:
            Job.objects.update(status="SUCCESS", result=5)
        finally:
            connections.close_all()

    timer = threading.Timer(0.05, end)
    timer.start()
    assert result.get(timeout=LONG) == 5
    timer.join()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("durable", [False, True])
def test_wait_inside_the_transaction_that_enqueued_is_refused(durable: bool, vendor: str) -> None:
    if durable and vendor == "sqlite":
        durable = False  # it has one writer
    with transaction.atomic():
        result = jobs.add.apply_async((1,), durable=durable)
        kind = ResultTimeout if durable else JobNotCommitted
        with pytest.raises(kind):
            result.get(timeout=0.01)
        with pytest.raises(ResultTimeout):
            result.get(timeout=0)
    with pytest.raises(ResultTimeout, match="It is PENDING"), transaction.atomic():
        result.get(timeout=0.01)


def test_waiting_inside_a_job_warns() -> None:
    result = jobs.add.delay(1)
    token = running.set(JobContext(jobs.send, Request(uuid=NOBODY, name="tests.jobs.send")))
    try:
        with (
            pytest.warns(WouldDeadlock, match=r"tests\.jobs\.send waits for another job") as one,
            pytest.raises(ResultTimeout),
        ):
            result.get(timeout=0)
        with pytest.warns(WouldDeadlock) as several, pytest.raises(ResultTimeout):
            ResultSet([result]).get(timeout=0)
        assert [each.filename for each in (*one, *several)] == [__file__] * 2
        with pytest.raises(ResultTimeout):
            result.get(timeout=0, allow_join=True)
    finally:
        running.reset(token)


# --- what a running job shows -------------------------------------------------------------------


def test_progress_and_state_of_a_running_job() -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status="STARTED", progress={"done": 1, "total": 4, "message": "m"})
    assert result.progress == {"done": 1, "total": 4, "message": "m"}
    assert result.state == "STARTED"
    Job.objects.update(progress={"state": "LOADING", "meta": [1]})
    assert (result.status, result.state, result.info) == ("STARTED", "LOADING", [1])
    Job.objects.update(status="SUCCESS", result=7)
    assert (result.state, result.info) == ("SUCCESS", 7)


# --- forgetting ---------------------------------------------------------------------------------


def test_forget_deletes_the_ended_job_and_its_attempts(work: Work) -> None:
    result = failed(work, ValueError())
    row = result.job
    result.forget()
    assert not row.attempts.exists()
    with pytest.raises(JobDoesNotExist):
        result.status  # noqa: B018


def test_forget_of_a_live_job_is_refused() -> None:
    result = jobs.add.delay(1)
    with pytest.raises(ValueError, match=r"is PENDING\. Revoke it before you forget it"):
        result.forget()
    assert Job.objects.exists()


# --- asynchronous twins -------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_async_twins() -> None:
    async def ask(result: AsyncResult[int]) -> list[Any]:
        return [
            await result.astatus(),
            await result.aready(),
            await result.asuccessful(),
            await result.afailed(),
            await result.aget(timeout=LONG),
            await result,
            (await result.ajob()).pk == result.id,
            await result.arevoke(),
        ]

    result = jobs.add.delay(1)
    Job.objects.update(status="SUCCESS", result=3)
    assert async_to_sync(ask)(result) == ["SUCCESS", True, True, False, 3, 3, True, False]
    async_to_sync(result.aforget)()
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_async_get_times_out_and_leaves_the_loop_free() -> None:
    result = jobs.add.delay(1)
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    async def wait() -> None:
        beside = asyncio.ensure_future(tick())
        try:
            await result.aget(timeout=0.05)
        finally:
            beside.cancel()

    with pytest.raises(ResultTimeout):
        async_to_sync(wait)()
    assert len(ticks) > 10
