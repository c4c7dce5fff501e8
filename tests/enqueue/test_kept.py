"""Enqueuing keeps parts of a row between two calls; they follow the settings and the code."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.utils import timezone

from django_jobs import ArgumentError, QueueFull, job
from django_jobs.define import registry
from django_jobs.models import Job
from django_jobs.testing import captured_jobs, override_jobs
from tests import jobs

pytestmark = pytest.mark.django_db


def kind() -> dict[str, str]:
    return {"kind": "x"}


def call_before() -> None:
    """Let the function keep what it keeps, under other settings."""
    jobs.add.delay(0)
    Job.objects.all().delete()


def test_settings_of_the_moment_count() -> None:
    call_before()
    with override_jobs(DEFAULT_QUEUE="main", HEADERS=[f"{__name__}.kind"]):
        row = jobs.add.delay(1).job
    assert (row.queue, row.headers) == ("main", {"kind": "x"})
    with override_jobs(ROUTES={"tests.*": {"queue": "routed", "priority": 3}}):
        row = jobs.add.delay(1).job
    assert (row.queue, row.priority, row.headers) == ("routed", 3, None)
    row = jobs.add.delay(1).job
    assert (row.queue, row.priority, row.headers) == ("default", 0, None)


def test_limits_of_the_moment_count() -> None:
    call_before()
    with override_jobs(MAX_PAYLOAD_BYTES=20), pytest.raises(ArgumentError, match="allowed are 20"):
        jobs.echo.delay("x" * 30)
    with override_jobs(QUEUES={"default": {"MAX_PENDING": 1}}):
        jobs.add.delay(1)
        with pytest.raises(QueueFull):
            jobs.add.delay(2)
    jobs.add.delay(3)
    assert Job.objects.count() == 2


def test_eager_and_captures_of_the_moment_count() -> None:
    call_before()
    with override_jobs(EAGER=True):
        assert jobs.add.delay(1, 2).get() == 3
    with captured_jobs(write=False) as captured:
        jobs.add.delay(4)
    assert [each.args for each in captured] == [[4]]
    assert not Job.objects.exists()
    jobs.add.delay(5)
    assert Job.objects.get().args == [5]


def test_function_that_is_registered_anew_has_its_own_options(registered: dict[str, Any]) -> None:
    @job(name="anew", queue="old", priority=1)
    def first(number: int) -> None: ...

    first.delay(1)
    del registered["anew"]

    @job(name="anew", queue="new", priority=2)
    def second(number: int, other: int) -> None: ...

    second.delay(1, 2)
    registry.get("anew").delay(3, 4)
    rows = Job.objects.order_by("id").values_list("queue", "rank", "args")
    assert list(rows) == [("old", -1, [1]), ("new", -2, [1, 2]), ("new", -2, [3, 4])]


def test_naive_expiry_of_a_function_is_in_the_time_zone_of_the_caller(
    registered: dict[str, Any], settings: Any
) -> None:
    settings.USE_TZ = True

    @job(name="expiring", expires=datetime.datetime(2050, 1, 1, 12))  # noqa: DTZ001
    def expiring() -> None: ...

    found = []
    for hours in (1, 5):
        with timezone.override(datetime.timezone(datetime.timedelta(hours=hours))):
            found.append(expiring.delay().job.expires_at)
    assert found[0] - found[1] == datetime.timedelta(hours=4)
