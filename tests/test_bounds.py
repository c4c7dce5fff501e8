"""Numbers, times and names at the ends of what is taken, on every database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jobs import job
from django_jobs.execute import Environment, execute
from django_jobs.measure import Collector
from django_jobs.models import Attempt, Job, Worker
from django_jobs.record import record
from django_jobs.statistics import statistics
from django_jobs.values import Claimed
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

DAY = 86_400.0


# --- long runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [25, 36_525])
@pytest.mark.parametrize("ends", ["SUCCESS", "FAILURE", "RETRY"])
def test_job_that_ran_for_very_long_is_recorded(
    worker: Worker, take: Callable[..., list[Claimed]], ends: str, days: int
) -> None:
    @job(autoretry_for=(KeyError,), retry_jitter=False)
    def body() -> int:
        if ends != "SUCCESS":
            raise KeyError if ends == "RETRY" else ValueError
        return 1

    body.delay()
    (claimed,) = take()
    outcome = execute(claimed, Environment())
    outcome.began -= days * DAY
    collector = Collector()
    collector.synchronize("default")
    collector.ended(record(worker.pk, [outcome], "default"))
    collector.flush("default")
    row = Job.objects.get()
    assert row.status == ends
    ended = row.ended_at if ends != "RETRY" else Attempt.objects.get().ended_at
    assert (ended - row.started_at).total_seconds() == pytest.approx(days * DAY, abs=5)
    assert statistics().total.run.longest == pytest.approx(days * DAY, abs=5)


def test_job_that_was_claimed_long_before_it_is_recorded_waited_so_long(
    worker: Worker, take: Callable[..., list[Claimed]]
) -> None:
    jobs.add.delay(1)
    (claimed,) = take()
    outcome = execute(claimed, Environment())
    outcome.began -= 30 * DAY
    outcome.ended -= 29 * DAY
    record(worker.pk, [outcome], "default")
    row = Job.objects.get()
    assert (row.ended_at - row.started_at).total_seconds() == pytest.approx(DAY, abs=5)


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["runworker", "runbeat"])
@pytest.mark.parametrize("name", ["n" * 191, "a\nb", "a\0b"])
def test_name_that_no_row_can_keep_is_refused_at_start(command: str, name: str) -> None:
    with pytest.raises(CommandError, match="--name must be a printable text of at most 190"):
        call_command(command, name=name)


def test_longest_name_of_a_worker_and_of_a_beat_fits(new_worker: Callable[..., Worker]) -> None:
    for end in ("-9999", "-beat"):
        row = new_worker(name="ü" * 190 + end)
        row.refresh_from_db()
        assert row.name.endswith(end)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0, -1, 1e12])
@pytest.mark.parametrize("flag", ["time_limit", "soft_time_limit"])
def test_time_limit_that_is_none_is_refused_at_start(flag: str, seconds: float) -> None:
    with pytest.raises(CommandError, match="must be seconds above 0, at most a century"):
        call_command("runworker", **{flag: seconds})


# --- keys ---------------------------------------------------------------------------------------


def test_unique_key_does_not_depend_on_the_order_of_a_dict() -> None:
    @job(unique=True)
    def body(options: dict[str, Any], **more: Any) -> None: ...

    one = body.delay({"a": 1, "b": {"c": 2, "d": 3}}, x=1, y=2)
    other = body.delay({"b": {"d": 3, "c": 2}, "a": 1}, y=2, x=1)
    assert one.id == other.id
    assert body.delay({"a": 1, "b": {"c": 3, "d": 2}}, x=1, y=2).id != one.id


@pytest.mark.parametrize("limit", [{"concurrency": 1}, {"rate_limit": "1/h"}])
def test_key_of_a_limit_does_not_depend_on_the_order_of_a_dict(
    work: Callable[..., list[Any]], limit: dict[str, Any]
) -> None:
    (name,) = limit

    @job(**limit, **{f"{name}_key": ["options"]})
    def body(options: dict[str, Any]) -> None: ...

    body.delay({"a": 1, "b": 2})
    body.delay({"b": 2, "a": 1})
    body.delay({"a": 2, "b": 1})
    work()
    statuses = [row.status for row in Job.objects.order_by("id")]
    # The end of the first freed its place for the second.
    waits = "PENDING" if name == "concurrency" else "SCHEDULED"
    assert statuses == ["SUCCESS", waits, "SUCCESS"]
