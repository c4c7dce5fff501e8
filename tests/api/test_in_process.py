from __future__ import annotations

import datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.utils import timezone

from django_jobs import ArgumentError, JobRevoked, Reject, Snooze, chord, group, job
from django_jobs.exceptions import NestedJob
from django_jobs.models import Job
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


@pytest.fixture
def eager(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}


@pytest.mark.usefixtures("eager")
def test_eager_runs_here_and_writes_no_row() -> None:
    result = jobs.add.delay(1, b=2)
    assert (result.status, result.get(), result.result) == ("SUCCESS", 3, 3)
    assert result.ready()
    assert result.successful()
    assert result.traceback is None
    assert not Job.objects.exists()
    assert result.revoke() is False
    result.forget()


@pytest.mark.usefixtures("eager")
def test_eager_runs_many_and_coroutines() -> None:
    assert [result.get() for result in jobs.add.delay_many([(1,), (2, 3)])] == [1, 5]
    assert jobs.add_async.delay(1, 2).get() == 3
    assert async_to_sync(jobs.add.adelay)(1).get() == 1


def test_apply_runs_here_whatever_the_setting() -> None:
    result = jobs.add.apply((1,), {"b": 2}, queue="vip")
    assert (result.get(), result.job.queue) == (3, "vip")
    assert not Job.objects.exists()


def test_eager_request_says_so() -> None:
    seen = jobs.tell_request.apply((1,), headers={"a": 1}, priority=4).get()
    assert (seen["is_eager"], seen["called_directly"]) == (True, False)
    assert (seen["headers"], seen["priority"], seen["worker"]) == ({"a": 1}, 4, "eager")
    assert seen["attempt"] == 1


def test_eager_arguments_pass_through_json() -> None:
    taken: list[Any] = []

    @job
    def body(value: Any) -> Any:
        taken.append(value)
        return (1, 2)

    result = body.apply(((1, datetime.date(2026, 1, 2)),))
    assert taken == [[1, "2026-01-02"]]
    assert result.get() == [1, 2]
    with pytest.raises(ArgumentError):
        jobs.echo.apply((object(),))
    with pytest.raises(TypeError):
        jobs.add.apply(())


def test_eager_retries_at_once_until_they_are_used_up() -> None:
    seen: list[int] = []

    @job(bind=True, max_retries=3, autoretry_for=(ValueError,))
    def body(self: Any, works_at: int) -> str:
        seen.append(self.request.retries)
        if self.request.retries < works_at:
            raise ValueError(f"attempt {self.request.attempt}")
        return "done"

    result = body.apply((2,))
    assert (result.get(), seen, result.job.attempt, result.job.retries) == ("done", [0, 1, 2], 3, 2)
    seen.clear()
    failed = body.apply((99,))
    assert seen == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="attempt 4"):
        failed.get()
    assert failed.failed()


@pytest.mark.parametrize(
    ("options", "status", "runs"),
    [
        ({"countdown": 5, "expires": 60}, "SUCCESS", 2),
        ({"countdown": 60, "expires": 5}, "REVOKED", 1),
        ({"countdown": 0, "expires": datetime.timedelta(seconds=-1)}, "REVOKED", 1),
    ],
)
def test_eager_retry_expires_as_in_a_worker(
    options: dict[str, Any], status: str, runs: int
) -> None:
    seen: list[int] = []

    @job(bind=True)
    def body(self: Any) -> None:
        seen.append(self.request.retries)
        if len(seen) == 1:
            self.retry(**options)

    assert (body.apply().status, len(seen)) == (status, runs)


def test_eager_error_is_the_very_exception() -> None:
    error = ValueError("mine")

    @job(max_retries=0)
    def body() -> None:
        raise error

    result = body.apply()
    with pytest.raises(ValueError, match="mine") as caught:
        result.get()
    assert caught.value is error
    assert result.result is result.info is result.get(propagate=False) is error
    assert "ValueError: mine" in str(result.traceback)


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({"expires": -1}, False),
        ({"expires": 60}, True),
        ({"expires": 60, "countdown": 90}, False),
        ({"expires": 90, "countdown": 60}, True),
        ({"expires": timezone.now() - datetime.timedelta(1)}, False),
        ({"expires": 60, "eta": timezone.now() + datetime.timedelta(1)}, False),
    ],
)
def test_eager_honours_expiry(options: Any, runs: bool) -> None:
    result = jobs.add.apply((1,), **options)
    if runs:
        assert result.get() == 1
    else:
        assert result.status == "REVOKED"
        with pytest.raises(JobRevoked):
            result.get()


@pytest.mark.parametrize("error", [Snooze(60), Reject(requeue=True)])
def test_eager_job_that_snoozes_stays_scheduled(error: Exception) -> None:
    @job
    def body() -> None:
        raise error

    result = body.apply()
    assert (result.status, result.ready(), result.result) == ("SCHEDULED", False, None)


def test_eager_atomic_rolls_back_what_failed() -> None:
    @job(atomic=True, max_retries=0)
    def body(works: bool) -> None:
        User.objects.create(username=f"made {works}")
        if not works:
            raise ValueError

    assert body.apply((True,)).successful()
    assert body.apply((False,)).failed()
    assert list(User.objects.values_list("username", flat=True)) == ["made True"]


def test_eager_without_time_zone_support(settings: Any) -> None:
    settings.USE_TZ = False
    assert jobs.add.apply((1,), expires=60, countdown=30).get() == 1
    assert jobs.add.apply((1,), expires=60, countdown=90).status == "REVOKED"


@pytest.mark.usefixtures("eager")
def test_eager_leaves_the_keyboard_to_the_person() -> None:
    @job
    def body() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body.delay()


# --- EAGER = "raise" ----------------------------------------------------------------------------


@pytest.fixture
def raising(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": "raise"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: jobs.fail.delay(),
        lambda: jobs.fail.apply_async(),
        lambda: jobs.fail.delay_many([()]),
        lambda: async_to_sync(jobs.fail.adelay)(),
        lambda: jobs.fail.s().delay(),
        lambda: jobs.fail.apply_async(link=jobs.echo.s()),
        lambda: jobs.add.apply_async((1,), link=jobs.fail.si()),
        lambda: (jobs.add.s(1) | jobs.fail.si() | jobs.add.s(2))(),
        lambda: group(jobs.add.s(1), jobs.fail.s()).apply_async(),
        lambda: chord([jobs.add.s(1), jobs.fail.s()], jobs.echo.s()).delay(),
        lambda: becomes_failing.delay(),
        lambda: becomes_failing.s().apply_async(),
        lambda: calls_failing.delay(),
    ],
)
@pytest.mark.usefixtures("raising")
def test_exception_of_a_job_leaves_the_call(call: Any) -> None:
    with pytest.raises(ValueError, match="broken"):
        call()
    assert not Job.objects.exists()


@job(bind=True)
def becomes_failing(self: Any) -> None:
    self.replace(jobs.add.s(1) | jobs.fail.si())


@job
def calls_failing() -> None:
    jobs.fail.delay()


@pytest.mark.usefixtures("raising")
def test_call_returns_the_result_of_a_job_that_succeeds() -> None:
    assert jobs.add.delay(1, 2).get() == 3
    assert (jobs.add.s(1) | jobs.add.s(2)).apply_async().get() == 3


@pytest.mark.usefixtures("raising")
def test_very_exception_is_raised_after_the_last_retry() -> None:
    error, seen = ValueError("mine"), []

    @job(max_retries=2, autoretry_for=(ValueError,))
    def body(works_at: int) -> None:
        seen.append(1)
        if len(seen) < works_at:
            raise error

    body.delay(2)
    seen.clear()
    with pytest.raises(ValueError, match="mine") as caught:
        body.delay(9)
    assert (caught.value is error, len(seen)) == (True, 3)


@pytest.mark.usefixtures("raising")
def test_other_jobs_and_errbacks_have_run_before() -> None:
    seen: list[Any] = []

    @job
    def note(what: Any) -> None:
        seen.append(what)

    @job
    def fail_at_nought(number: int) -> None:
        seen.append(number)
        if not number:
            raise ValueError("broken")

    failing = jobs.fail.s().on_error(note.si("errback"))
    with pytest.raises(ValueError, match="broken"):
        group(failing, note.s("member")).apply_async()
    with pytest.raises(ValueError, match="broken"):
        fail_at_nought.delay_many([(0,), (1,)])
    assert seen == ["errback", "member", 0, 1]


@pytest.mark.usefixtures("raising")
def test_job_that_expired_raises_that() -> None:
    with pytest.raises(JobRevoked, match=r"tests\.jobs\.add .*expired at"):
        jobs.add.apply_async((1,), expires=-1)
    with pytest.raises(JobRevoked, match=r"tests\.jobs\.add .*expired at"):
        (jobs.add.s(1).set(expires=-1) | jobs.add.s(1))()


@pytest.mark.usefixtures("raising")
def test_job_that_is_postponed_raises_nothing() -> None:
    @job
    def body() -> None:
        raise Snooze(60)

    assert body.delay().status == "SCHEDULED"


@pytest.mark.parametrize("eager", [True, "raise"])
def test_apply_raises_nothing_whatever_the_setting(settings: Any, eager: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": eager}
    assert jobs.fail.apply().status == "FAILURE"
    assert (jobs.fail.s() | jobs.add.s(1)).apply().status == "FAILURE"


@pytest.mark.usefixtures("eager")
def test_call_raises_nothing_where_eager_is_true() -> None:
    assert jobs.fail.delay().status == "FAILURE"
    assert (jobs.fail.s() | jobs.add.s(1)).apply_async().status == "FAILURE"


@pytest.mark.parametrize("kind", ["plain", "bound", "async"])
def test_traceback_begins_with_the_body(registered: Any, kind: str) -> None:
    def plain() -> None:
        raise ValueError

    def bound(self: object) -> None:
        raise ValueError

    async def coroutine() -> None:
        raise ValueError

    body: Any = {"plain": plain, "bound": bound, "async": coroutine}[kind]
    with pytest.warns(NestedJob):
        failing = job(name="shop.failing", bind=kind == "bound")(body)
    traceback = str(failing.apply().traceback)
    assert [line.split('"')[1] for line in traceback.splitlines() if "File" in line] == [__file__]
