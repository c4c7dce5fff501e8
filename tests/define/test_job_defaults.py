"""``JOB_OPTIONS`` gives options to job functions that do not set them."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs import checks, job

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("registered")]


def made(name: str, **options: Any) -> Any:
    @job(name=name, **options)
    def body() -> None: ...

    return body.options


def test_glob_gives_its_options(settings: Any) -> None:
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {"shop.*": {"max_retries": 7, "queue": "shop"}}}
    inside, outside = made("shop.jobs.pay"), made("other.jobs.pay")
    assert (inside.max_retries, inside.queue) == (7, "shop")
    assert (outside.max_retries, outside.queue) == (3, None)


def test_name_from_the_module_counts(settings: Any) -> None:
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {f"{__name__}.b*": {"time_limit": 9}}}

    @job
    def body() -> None: ...

    assert body.options.time_limit == 9


def test_option_of_the_decorator_wins_even_if_it_is_the_default(settings: Any) -> None:
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {"*": {"max_retries": 7, "atomic": True}}}
    options = made("shop.jobs.pay", max_retries=3)
    assert (options.max_retries, options.atomic) == (3, True)


@pytest.mark.parametrize(
    "globs", [["*", "shop.*", "shop.jobs.pay"], ["shop.jobs.pay", "shop.*", "*"]]
)
def test_most_specific_glob_wins_in_any_order(settings: Any, globs: list[str]) -> None:
    given = {
        "*": {"max_retries": 1, "queue": "all", "priority": 1},
        "shop.*": {"queue": "shop", "priority": 2},
        "shop.jobs.pay": {"priority": 3},
    }
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {glob: given[glob] for glob in globs}}
    options = made("shop.jobs.pay")
    assert (options.max_retries, options.queue, options.priority) == (1, "shop", 3)


def test_options_that_do_not_fit_together_name_the_setting(settings: Any) -> None:
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {"*": {"time_limit": 5}}}
    with pytest.raises(ImproperlyConfigured) as caught:
        made("shop.jobs.pay", soft_time_limit=9)
    assert str(caught.value) == (
        "@job shop.jobs.pay: soft_time_limit (9) must be shorter than time_limit (5). "
        "DJANGO_JOBS['JOB_OPTIONS'] gives it time_limit."
    )


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"*": {"max_retrys": 3}}, "max_retrys (did you mean max_retries=?)"),
        ({"*": {"name": "x"}}, "Unknown option name"),
        ({"*": {"bind": True}}, "Unknown option bind"),
        ({"*": {"max_retries": -1}}, "max_retries must be a whole number ≥ 0 or None, got -1."),
        ({"*": {"autoretry_for": ["OSError"]}}, "autoretry_for"),
        ({"*": 5}, "It must be a dict of options of @job, got int."),
        ({5: {}}, "A key must be a glob of job names, got 5."),
    ],
)
def test_wrong_entry_is_an_error_of_check_and_left_out(
    settings: Any, entry: Any, problem: str
) -> None:
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {**entry, "shop.*": {"queue": "shop"}}}
    (error,) = checks.check_settings(None)
    assert error.id == "django_jobs.E015"
    assert error.msg.startswith(f"DJANGO_JOBS['JOB_OPTIONS'][{next(iter(entry))!r}] is left out. ")
    assert problem in error.msg
    options = made("shop.jobs.pay")
    assert (options.max_retries, options.queue) == (3, "shop")


def test_glob_that_matches_nothing_is_warned_of(settings: Any) -> None:
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {"*": {}, "tests.jbos.*": {}, "tests.jobs.ad?": {}}}
    (warning,) = checks.check_job_options(None)
    assert warning.id == "django_jobs.W009"
    assert warning.msg == (
        "DJANGO_JOBS['JOB_OPTIONS']['tests.jbos.*'] matches no job function. Did you mean "
        "'tests.jobs.*'?"
    )
