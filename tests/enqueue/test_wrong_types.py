"""An option of a wrong type is refused with its name, what was given and what is allowed."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from django_jobs import signature
from django_jobs.models import Job
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

ARGS = [
    (5, "args must be a list or a tuple of arguments, got an int"),
    ("abc", "args must be a list or a tuple of arguments, got a str"),
    ("", "args must be a list or a tuple of arguments, got a str"),
    (b"abc", "args must be a list or a tuple of arguments, got a bytes"),
    ({"a": 1}, "args must be a list or a tuple of arguments, got a dict"),
    ({1}, "args must be a list or a tuple of arguments, got a set"),
]
KWARGS = [
    ([1], "kwargs must be a dict of arguments by name, got a list"),
    ([], "kwargs must be a dict of arguments by name, got a list"),
    ("x", "kwargs must be a dict of arguments by name, got a str"),
    ({1: 2}, "kwargs must have names as keys, got an int"),
]


@pytest.mark.parametrize(
    "call",
    [
        jobs.add.apply_async,
        jobs.add.apply,
        jobs.add.signature,
        lambda args, kwargs: signature("tests.jobs.add", args, kwargs),
    ],
    ids=["apply_async", "apply", "JobFunction.signature", "signature"],
)
@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        *((args, None, message) for args, message in ARGS),
        *(((1,), kwargs, message) for kwargs, message in KWARGS),
    ],
)
def test_arguments_in_a_wrong_container(
    call: Callable[..., Any], args: Any, kwargs: Any, message: str
) -> None:
    with pytest.raises(TypeError) as caught:
        call(args, kwargs)
    assert message in str(caught.value)
    assert "tests.jobs.add" in str(caught.value)
    assert not Job.objects.exists()


def test_other_iterables_of_arguments_are_taken() -> None:
    jobs.add.apply_async(n for n in (1, 2))  # type: ignore[arg-type]
    jobs.add.apply_async(range(1, 3))
    jobs.add.apply_async(None, {"a": 1, "b": 2})  # as Celery's own default is
    jobs.add.signature(None, {"a": 1, "b": 2}).apply_async()
    rows = Job.objects.order_by("id").values_list("args", "kwargs")
    assert list(rows) == [([1, 2], {})] * 2 + [([], {"a": 1, "b": 2})] * 2


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("headers", ["a"], "headers must be a dict of JSON, got a list"),
        ("headers", [("token", "hunter2")], "headers must be a dict of JSON, got a list"),
        ("task_id", "order-17", "task_id must be a UUID or its text, got 'order-17'. For a key of"),
        ("task_id", 5, "task_id must be a UUID or its text, got 5"),
        ("queue", 5, "queue must be a printable text of 1 to 100 characters, got 5"),
        ("priority", "high", "priority must be a whole number from -32767 to 32767, got 'high'"),
        ("countdown", "5", "countdown must be seconds, got '5'"),
        ("eta", 5, "eta must be a datetime, got 5"),
        ("eta", datetime.date(2026, 1, 1), "eta must be a datetime, got datetime.date"),
        ("expires", [1], "expires must be seconds, a timedelta or a datetime, got [1]"),
        ("expires", True, "expires must be seconds, a timedelta or a datetime, got True"),
        ("time_limit", "5", "time_limit must be seconds, got '5'"),
        ("durable", 1, "durable must be True or False, got 1."),
        ("link", 5, "link takes signatures, as f.s(), got an int."),
        ("link_error", "a.b", "link_error takes signatures, as f.s(), got a str."),
        ("link", [5], "link takes signatures, as f.s(): A workflow is made of signatures, got 5"),
    ],
)
def test_option_of_a_wrong_type(option: str, value: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        jobs.add.apply_async((1,), **{option: value})
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("calls", "message"), [(5, "an int"), ("ab", "a str"), ({"a": 1}, "a dict")]
)
def test_delay_many_of_no_list(calls: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"delay_many\(\) takes a list of calls, .* got {message}"):
        jobs.add.delay_many(calls)
