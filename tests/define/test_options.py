from __future__ import annotations

import datetime
from typing import Any, get_type_hints

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs.define.call_options import CallKeywords
from django_jobs.define.options import JobKeywords, JobOptions

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "n" * 256}, "at most 255 characters, got 256"),
        ({"queue": ""}, "queue must be .*text of 1 to 100 characters, got ''"),
        ({"queue": "q" * 101}, "queue must be"),
        ({"queue": "a\0b"}, "queue must be"),
        ({"queue": "a,b"}, "queue must not have a comma"),
        ({"queue": 5}, "queue must be .* got 5"),
        ({"priority": 32_768}, "priority must be a whole number from -32767 to 32767"),
        ({"priority": -32_768}, "priority must be"),
        ({"priority": 1.5}, "priority must be"),
        ({"priority": True}, "priority must be"),
        ({"max_retries": -1}, "max_retries must be a whole number ≥ 0 or None, got -1"),
        ({"max_retries": 1.5}, "max_retries must be"),
        ({"default_retry_delay": -1}, "default_retry_delay must be seconds ≥ 0"),
        ({"default_retry_delay": float("nan")}, "default_retry_delay must be seconds ≥ 0"),
        ({"retry_backoff_max": float("inf")}, "retry_backoff_max must be seconds ≥ 0"),
        ({"retry_backoff": float("nan")}, "retry_backoff must be a bool or seconds > 0"),
        ({"time_limit": 1e12}, "time_limit must be seconds > 0 or None, a century at most"),
        ({"result_expires": 1e12}, "result_expires must be seconds or None, a century at most"),
        ({"expires": "soon"}, "expires must be seconds or a timedelta"),
        ({"expires": datetime.datetime.max}, "a datetime in the years 1900 to 8999"),  # noqa: DTZ901
        ({"expires": datetime.timedelta.max}, "a century at most"),
        (
            {"retry_backoff_max": "5"},
            "retry_backoff_max must be seconds ≥ 0, a century at most, got '5'",
        ),
        ({"retry_backoff": 0}, "retry_backoff must be a bool or seconds > 0"),
        ({"time_limit": 0}, "time_limit must be seconds > 0 or None"),
        (
            {"soft_time_limit": "1m"},
            "soft_time_limit must be seconds > 0 or None, a century at most, got '1m'",
        ),
        ({"time_limit": 5, "soft_time_limit": 5}, "must be shorter than time_limit"),
        ({"unique_for": -5}, "unique_for must be seconds > 0 or None"),
        ({"autoretry_for": (ValueError, "OSError")}, "exception classes, got 'OSError'"),
        ({"throws": int}, "throws must hold exception classes"),
        (
            {"keep_log": 0.5},
            "keep_log must be True, False or a number of lines from 1 to 1000, got 0",
        ),
        ({"keep_log": 0}, "keep_log must be"),
        ({"keep_log": 1_001}, "keep_log must be .* got 1001"),
        ({"keep_log": "INFO"}, "keep_log must be .* got 'INFO'"),
        ({"unique": "yes"}, "unique must be True, False, 'reject', 'raise' or 'replace'"),
        ({"on_worker_lost": "ignore"}, "on_worker_lost must be 'retry' or 'fail'"),
        ({"base": int}, "base must be a subclass of JobContext"),
        ({"result_expires": "never"}, "result_expires must be seconds or None"),
    ],
)
def test_invalid_option_names_the_allowed_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        JobOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 32_767, "queue": "q" * 100, "name": "n" * 255},
        {"max_retries": None, "retry_backoff": 0.5, "default_retry_delay": 0},
        {"autoretry_for": [OSError], "dont_autoretry_for": (FileNotFoundError,)},
        {"time_limit": 2, "soft_time_limit": 1.5, "result_expires": None},
        {"expires": datetime.timedelta(minutes=1), "unique": "raise"},
    ],
)
def test_possible_options_are_accepted(options: dict[str, Any]) -> None:
    made = JobOptions(**options)
    assert {name: getattr(made, name) for name in options} == options


def test_options_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        JobOptions().queue = "other"  # type: ignore[misc]


def test_on_worker_lost_fail_is_acks_late_false() -> None:
    assert JobOptions().acks_late is True
    assert JobOptions(on_worker_lost="fail").acks_late is False


def test_unique_for_makes_a_job_unique() -> None:
    assert JobOptions(unique_for=60).unique is True
    assert JobOptions(unique_for=60, unique="raise").unique == "raise"


def test_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="retrys"):
        JobOptions(retrys=3)  # type: ignore[call-arg]


def test_keywords_of_the_decorator_are_the_options() -> None:
    # These have overloads of their own, because they change the function's type.
    own = {"bind", "batch_size", "batch_seconds", "call_signature"}
    assert set(get_type_hints(JobKeywords)) | own == set(JobOptions.__dataclass_fields__)


def test_keywords_of_a_call_are_options_of_the_function_or_its_time() -> None:
    of_the_call = {"countdown", "eta", "headers", "task_id", "durable", "link", "link_error"}
    assert set(CallKeywords.__annotations__) - of_the_call <= set(JobOptions.__dataclass_fields__)


def test_one_exception_class_will_do() -> None:
    made = JobOptions(autoretry_for=OSError, throws=ValueError)  # type: ignore[arg-type]
    assert (made.autoretry_for, made.throws) == ((OSError,), (ValueError,))


@pytest.mark.parametrize("field", ["sensitive", "unique_key"])
def test_name_alone_is_refused_where_a_list_is_meant(field: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{field} must be a list of names"):
        JobOptions(**{field: "answer"})
