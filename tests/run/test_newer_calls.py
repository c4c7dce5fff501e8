"""A call that was made for newer code than this worker's: it waits for a worker that has it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from django_jobs import job
from django_jobs.api.result import AsyncResult
from django_jobs.exceptions import ResultTimeout, UnknownJob
from django_jobs.models import Attempt, Job, Permit
from django_jobs.run.execute import Environment, execute
from django_jobs.run.outside_body import MAX_DEFERRALS
from django_jobs.values import Claimed
from tests.run.test_unknown_jobs import Work, again, alerts_of, stray

pytestmark = pytest.mark.django_db


def deploy(registered: dict[str, Any], function: Callable[..., Any], **options: Any) -> None:
    """Replace the job function ``tests.deployed`` by a newer one."""
    registered.pop("tests.deployed", None)
    job(name="tests.deployed", **options)(function)


def old(a: int) -> int:
    return a


def new(a: int, factor: int = 1) -> int:
    return a * factor


async def old_async(a: int) -> int:
    return a


def old_bound(self: Any, a: int) -> int:
    return a


def newer_call(registered: dict[str, Any], function: Any, **options: Any) -> AsyncResult[int]:
    """Enqueue a call of :func:`new`, and deploy the older *function*."""
    deploy(registered, new)
    result: AsyncResult[int] = registered["tests.deployed"].delay(7, factor=6)
    deploy(registered, function, **options)
    return result


KINDS = pytest.mark.parametrize(
    ("function", "options"),
    [(old, {}), (old, {"atomic": True}), (old_async, {}), (old_bound, {"bind": True})],
    ids=["plain", "atomic", "async", "bound"],
)


@KINDS
def test_newer_call_waits_for_a_worker_with_the_newer_code(
    registered: dict[str, Any], work: Work, function: Any, options: dict[str, Any]
) -> None:
    result = newer_call(registered, function, **options)
    (outcome,) = work()
    row = result.job
    assert (outcome.delay, row.status, row.deferrals, row.retries) == (1.0, "SCHEDULED", 1, 0)
    assert row.error_class == "builtins.TypeError"
    assert row.error_message.startswith("tests.deployed(a: ")
    assert row.error_message.endswith("unexpected argument 'factor'")
    assert isinstance(result.info, TypeError)
    assert not Attempt.objects.exists()
    deploy(registered, new)
    again()
    work()
    assert (result.status, result.get(), result.job.error_message) == ("SUCCESS", 42, "")


def test_attempt_that_began_waits_for_no_other_code_any_more(
    registered: dict[str, Any], work: Work
) -> None:
    result = newer_call(registered, old)
    work()

    def fails(a: int, factor: int) -> None:
        raise ValueError("this is the body's own")

    deploy(registered, fails, autoretry_for=[ValueError])
    again()
    work()
    Job.objects.filter(status="RETRY").update(status="PENDING")
    row = result.job
    assert (row.error_message, row.deferrals) == ("this is the body's own", 0)
    assert not row.is_deferred
    assert result.info is None
    with pytest.raises(ResultTimeout) as caught:
        result.get(timeout=0)
    assert "this is the body's own" not in str(caught.value)


@KINDS
def test_call_that_no_worker_fits_fails_with_the_reason(
    registered: dict[str, Any], work: Work, function: Any, options: dict[str, Any]
) -> None:
    result = newer_call(registered, function, **options)
    Job.objects.update(deferrals=MAX_DEFERRALS)
    work()
    assert result.status == "FAILURE"
    with pytest.raises(TypeError, match=r"tests\.deployed\(a: .*unexpected argument 'factor'"):
        result.get()
    assert Attempt.objects.count() == 1


def test_newer_call_is_told_of_in_the_log_and_on_the_dashboard(
    registered: dict[str, Any], work: Work, boss: Client, job_lines: Callable[[int], list[str]]
) -> None:
    newer_call(registered, old)
    work()
    again()
    work()
    (warning,) = job_lines(logging.WARNING)
    (alert,) = alerts_of(boss)
    for text in (warning, alert["text"]):
        assert "tests.deployed(a: 'int') -> 'int': unexpected argument 'factor'" in text


def raises(a: int) -> None:
    raise TypeError("this is the body's own")


async def raises_async(a: int) -> None:
    raise TypeError("this is the body's own")


def calls_wrongly(a: int) -> int:
    return old(1, 2)  # type: ignore[call-arg]


@pytest.mark.parametrize("function", [raises, raises_async, calls_wrongly])
def test_type_error_of_the_body_is_a_failure(
    registered: dict[str, Any], work: Work, function: Any
) -> None:
    deploy(registered, function)
    result = registered["tests.deployed"].delay(1)
    (outcome,) = work()
    assert (outcome.status, result.job.deferrals) == ("FAILURE", 0)


def test_call_without_a_checked_signature_fails_by_itself(
    registered: dict[str, Any], work: Work
) -> None:
    result = newer_call(registered, old, typing=False)
    work()
    assert (result.status, result.job.deferrals) == ("FAILURE", 0)


def test_eager_run_waits_for_no_worker(
    registered: dict[str, Any], take: Callable[..., list[Claimed]]
) -> None:
    newer_call(registered, old)
    stray()
    outcomes = [execute(claimed, Environment(is_eager=True)) for claimed in take()]
    assert {each.status for each in outcomes} == {"FAILURE"}
    assert {type(each.value) for each in outcomes} == {TypeError, UnknownJob}


@pytest.mark.parametrize("option", ["concurrency", "rate_limit"])
def test_newer_call_waits_also_where_its_arguments_name_a_limit(
    registered: dict[str, Any], work: Work, option: str
) -> None:
    result = newer_call(registered, old, **{option: 1, f"{option}_key": ["a"]})
    work()
    assert (result.status, result.job.error_class) == ("SCHEDULED", "builtins.TypeError")
    assert not Permit.objects.exists()


def test_key_function_that_raises_type_error_fails_the_job(
    registered: dict[str, Any], work: Work
) -> None:
    deploy(registered, old, concurrency=1, concurrency_key=lambda a: a + "x")
    result = registered["tests.deployed"].delay(1)
    work()
    assert (result.status, result.job.deferrals) == ("FAILURE", 0)


@pytest.mark.parametrize("how", ["map", "starmap"])
def test_map_waits_for_a_worker_that_knows_the_function(
    registered: dict[str, Any], work: Work, how: str
) -> None:
    known = registered["tests.jobs.add"]
    result = getattr(known, how)([1, 2] if how == "map" else [[1], [2]]).delay()
    del registered["tests.jobs.add"]
    work()
    row = result.job
    assert (row.status, row.deferrals) == ("SCHEDULED", 1)
    assert row.error_message.startswith("No job function is named 'tests.jobs.add'")
    registered["tests.jobs.add"] = known
    again()
    work()
    assert result.get() == [1, 2]
