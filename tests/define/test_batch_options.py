"""The options of batches, and the calls that a batch function takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs import Call, JobContext, job
from django_jobs.define.options import JobOptions
from django_jobs.testing import run_jobs

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("registered")]


class Wraps(JobContext):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1 to 1,000 or None, got 0"),
        ({"batch_size": 1001}, "batch_size must be a whole number from 1 to 1,000"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"batch_size": 10, "batch_seconds": -1}, "batch_seconds must be seconds from 0 to 60"),
        ({"batch_size": 10, "batch_seconds": 61}, "batch_seconds must be seconds from 0 to 60"),
        ({"batch_seconds": 1}, "batch_seconds is about batches. Give batch_size too"),
        ({"call_signature": len}, "call_signature is about batches. Give batch_size too"),
        ({"batch_size": 10, "call_signature": "f"}, "call_signature must be a function or a class"),
        ({"batch_size": 10, "bind": True}, "bind=True passes the running job, and a batch runs"),
        ({"batch_size": 10, "keep_log": True}, "keep_log keeps the lines of one job"),
        ({"batch_size": 10, "base": Wraps}, "wraps the body of one job, and a batch runs several"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        JobOptions(**options)


def test_batch_seconds_may_be_0() -> None:
    assert JobOptions(batch_size=1_000, batch_seconds=0).batch_seconds == 0


def test_function_must_take_the_list_of_calls() -> None:
    with pytest.raises(ImproperlyConfigured, match="batch_size passes a list of calls"):

        @job(batch_size=10)  # type: ignore[arg-type]
        def none() -> None: ...


def test_atomic_batch_needs_a_plain_function() -> None:
    with pytest.raises(ImproperlyConfigured, match="atomic=True needs a plain function"):

        @job(batch_size=10, atomic=True)
        async def store(calls: list[Call]) -> None: ...


@dataclasses.dataclass
class Visit:
    page: str
    user_id: int = 0


@pytest.mark.django_db
def test_calls_fit_the_signature_that_is_given() -> None:
    visits = []

    @job(batch_size=10, call_signature=Visit, sensitive=["page"], unique_key=["user_id"])
    def count(calls: list[Call]) -> None:
        visits.extend(Visit(*call.args, **call.kwargs) for call in calls)

    count.delay("/", user_id=7)
    with pytest.raises(TypeError, match=r"missing a required argument: 'page'"):
        count.delay()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"unexpected argument 'user'.*did you mean 'user_id'"):
        count.delay("/", user=7)  # type: ignore[call-arg]
    run_jobs()
    assert visits == [Visit("/", 7)]


@pytest.mark.django_db
def test_calls_without_a_signature_have_any_arguments() -> None:
    seen: list[Any] = []

    @job(batch_size=10)
    def look(calls: list[Call]) -> None:
        seen.extend((list(call.args), dict(call.kwargs)) for call in calls)

    look.delay()
    look.delay(1, 2, calls=3)
    run_jobs()
    assert seen == [([], {}), ([1, 2], {"calls": 3})]


@pytest.mark.parametrize("method", ["map", "starmap", "chunks"])
def test_one_job_of_many_calls_is_refused(method: str) -> None:
    @job(batch_size=10)
    def look(calls: list[Call]) -> None: ...

    arguments = ([[1]], 1) if method == "chunks" else ([[1]],)
    with pytest.raises(TypeError, match="makes one job of many calls"):
        getattr(look, method)(*arguments)


@pytest.mark.django_db
def test_map_by_name_is_refused_when_it_runs() -> None:
    from django_jobs import signature

    @job(batch_size=10, name="batch.look")
    def look(calls: list[Call]) -> None: ...

    result = signature("django_jobs.map", ["batch.look", [1]]).apply_async()
    run_jobs(raise_errors=False)
    assert "makes one job of many calls" in result.job.error_message
