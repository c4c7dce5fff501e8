"""Numbers, times and names at the ends of what is taken, on every database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_jobs import chain, commands, group, job, operate
from django_jobs.dialects import clock
from django_jobs.execute import Environment, execute
from django_jobs.ids import uuid7
from django_jobs.locking import limits_locked
from django_jobs.measure import Collector
from django_jobs.models import Attempt, Command, Gate, Job, Worker
from django_jobs.record import record
from django_jobs.resultset import ResultSet
from django_jobs.statistics import statistics
from django_jobs.values import Claimed
from tests import jobs
from tests.workflows.jobs import add, fail

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


# --- many ids -----------------------------------------------------------------------------------

MANY = 1_500


@pytest.fixture
def few_variables(vendor: str) -> Iterator[None]:
    """Let SQLite take fewer variables in a statement than there are ids."""
    if vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    raw: Any = connection.connection
    before = raw.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, MANY - 300)
    yield
    raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)


@pytest.mark.usefixtures("few_variables")
def test_many_jobs_are_run_now_counted_and_revoked_at_once() -> None:
    results = jobs.add.delay_many(((number,) for number in range(MANY)), countdown=60)
    ids = [result.uuid for result in results]
    assert operate.run_now(ids) == MANY
    assert Job.objects.filter(status="PENDING").count() == MANY
    assert ResultSet(results).progress()["total"] == MANY
    assert operate.revoke_workflow(ids) == MANY


@pytest.mark.usefixtures("few_variables")
def test_many_jobs_that_failed_because_of_one_wait_for_it_again(
    work: Callable[..., list[Any]],
) -> None:
    result = chain(
        fail.s(), group(add.si(1).set(task_id=str(uuid7())) for _ in range(MANY))
    ).apply_async()
    work()
    assert set(Job.objects.values_list("status", flat=True)) == {"FAILURE"}
    assert operate.retry([result.parent.uuid]) == (1, {})
    assert Job.objects.filter(status="WAITING").count() == MANY


@pytest.mark.usefixtures("few_variables")
def test_many_limits_are_held_at_once() -> None:
    with limits_locked({f"key {number}" for number in range(MANY)}, "default"):
        assert Gate.objects.count() == MANY


@pytest.mark.usefixtures("few_variables")
def test_many_commands_of_a_worker_that_is_gone_are_answered(worker: Worker) -> None:
    made = {"worker_id": worker.pk, "name": "ping", "created_at": clock("default")}
    Command.objects.bulk_create(Command(**made) for _ in range(MANY))
    Worker.objects.update(stopped_at=clock("default"))
    assert commands.settle("default") == MANY
