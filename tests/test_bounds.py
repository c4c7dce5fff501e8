"""Numbers, times and names at the ends of what is taken, on every database."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_jobs import chain, control, group, job
from django_jobs.api.result_set import ResultSet
from django_jobs.api.waiting_reasons import waiting_reasons
from django_jobs.control import commands
from django_jobs.db import clock
from django_jobs.define import registry
from django_jobs.ids import uuid7
from django_jobs.locking import limits_locked
from django_jobs.maintenance import promote
from django_jobs.metrics.collector import Collector
from django_jobs.metrics.history import statistics
from django_jobs.metrics.waiting import Kind
from django_jobs.models import Attempt, Command, Job, LimitLock, Schedule, Worker
from django_jobs.moments import LONGEST_SECONDS as CENTURY
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.schedules.validation import problems
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
    # The end of the first freed its permit for the second.
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
    assert control.run_now(ids) == MANY
    assert Job.objects.filter(status="PENDING").count() == MANY
    assert ResultSet(results).progress()["total"] == MANY
    assert control.revoke_workflow(ids) == MANY


def test_search_of_a_site_with_many_functions_is_bounded(
    vendor: str, registered: dict[str, Any], boss: Client
) -> None:
    """SQLite takes 32,766 values in a query; some builds take more."""
    if vendor == "sqlite":
        connection.ensure_connection()
        raw: Any = connection.connection
        raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
    registered.clear()
    for number in range(2_000):

        @job(name=f"many.{number}")
        def many(customer: int) -> None: ...

    many.delay(1)
    jobs_page = reverse("admin:django_jobs_job_changelist")
    for words, most in (["many"] * 50, 15), (["args.customer:1"] * 50, 5):
        for number in (most, most + 1):
            page = boss.get(jobs_page, {"q": " ".join(words[:number])})
            told = f"A search has at most {most} words." in page.content.decode()
            found = page.context["cl"].result_count
            assert (told, found) == ((True, 0) if number > most else (False, 1))
    arguments = ["--args", "customer=1"]
    call_command("jobs", "list", *arguments * 5)
    with pytest.raises(CommandError, match="Give --args at most 5 times"):
        call_command("jobs", "list", *arguments * 6)


@pytest.mark.usefixtures("few_variables")
def test_many_jobs_have_reasons_to_wait() -> None:
    jobs.add.delay_many(((number,) for number in range(MANY)), countdown=60)
    reasons = waiting_reasons(list(Job.objects.all()))
    assert [reason.kind for reason in reasons.values()] == [Kind.TIME] * MANY


@pytest.mark.usefixtures("few_variables")
def test_many_jobs_that_failed_because_of_one_wait_for_it_again(
    work: Callable[..., list[Any]],
) -> None:
    result = chain(
        fail.s(), group(add.si(1).set(task_id=str(uuid7())) for _ in range(MANY))
    ).apply_async()
    work()
    assert set(Job.objects.values_list("status", flat=True)) == {"FAILURE"}
    assert control.retry([result.parent.uuid]) == (1, {})
    assert Job.objects.filter(status="WAITING").count() == MANY


@pytest.mark.usefixtures("few_variables")
def test_many_limits_are_held_at_once() -> None:
    with limits_locked({f"key {number}" for number in range(MANY)}, "default"):
        assert LimitLock.objects.count() == MANY


@pytest.mark.usefixtures("few_variables")
def test_many_commands_of_a_worker_that_is_gone_are_answered(worker: Worker) -> None:
    made = {"worker_id": worker.pk, "name": "ping", "created_at": clock("default")}
    Command.objects.bulk_create(Command(**made) for _ in range(MANY))
    Worker.objects.update(stopped_at=clock("default"))
    assert commands.answer_for_gone("default") == MANY


# --- times that no call writes ------------------------------------------------------------------

# What PostgreSQL and SQLite keep of an expiry at the end of the calendar, west of Greenwich.
UNREADABLE = {
    "postgresql": ["10000-01-01 05:00:00+00", "infinity", "-infinity", "0044-03-15 BC"],
    "sqlite": ["9999-12-31 23:59:59.999999", "0001-01-01 00:00:00", "no time"],
    "mysql": ["9999-12-31 23:59:59.999999", "1000-01-01 00:00:00"],
}


def set_time(column: str, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE django_jobs_job SET {column} = %s WHERE args = '[1]'", [value])


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("column", ["run_at", "expires_at", "prune_at"])
def test_time_that_nobody_can_read_stops_no_worker_and_no_page(
    work: Callable[..., list[Any]], boss: Client, settings: Any, vendor: str, column: str,
    number: int,
) -> None:  # fmt: skip
    if number >= len(UNREADABLE[vendor]):
        pytest.skip("this database has no more such times")
    jobs.add.delay(1)
    innocent = jobs.add.delay(2)
    set_time(column, UNREADABLE[vendor][number])
    for zone in ("Pacific/Kiritimati", "America/New_York"):
        settings.TIME_ZONE = zone
        assert boss.get("/admin/django_jobs/job/").status_code == 200
        for pk in Job.objects.values_list("pk", flat=True):
            assert boss.get(f"/admin/django_jobs/job/{pk}/change/").status_code == 200
    assert len(work()) == 2
    assert innocent.status == "SUCCESS"


def test_job_that_waits_for_a_time_and_has_none_stops_no_promotion() -> None:
    stuck, due = jobs.add.apply_async((1,), countdown=60), jobs.add.apply_async((2,), countdown=60)
    Job.objects.filter(pk=stuck.id).update(run_at=None)
    Job.objects.filter(pk=due.id).update(run_at=clock("default", -1))
    promote.run_once("default")
    assert (stuck.status, due.status) == ("SCHEDULED", "PENDING")
    assert control.run_now([stuck.id]) == 1


@pytest.mark.parametrize("column", ["starts_at", "ends_at", "clocked_at"])
@pytest.mark.parametrize("moment", [datetime.datetime.min, datetime.datetime.max])  # noqa: DTZ901
def test_schedule_at_the_ends_of_the_calendar_is_refused(
    column: str, moment: datetime.datetime
) -> None:
    schedule = Schedule(name="s", job_name=jobs.add.name, kind="interval", interval_seconds=60,
                        args=[1])  # fmt: skip
    if column == "clocked_at":
        schedule.kind = "clocked"
    setattr(schedule, column, moment.replace(tzinfo=datetime.UTC))
    assert problems(schedule) == {
        column: [f"{column} must lie in the years 1900 to 8999, got {moment}+00:00."]
    }


# --- any option of a call -----------------------------------------------------------------------

SECONDS = st.one_of(
    st.floats(), st.integers(), st.sampled_from([CENTURY, -CENTURY, CENTURY + 1, 1e-9, -0.0])
)
MOMENTS = st.datetimes(timezones=st.none() | st.timezones())
OPTIONS: dict[str, Any] = {
    "countdown": SECONDS,
    "eta": MOMENTS,
    "expires": SECONDS | MOMENTS | st.timedeltas(),
    "queue": st.text(max_size=101),
    "priority": st.integers(-40_000, 40_000),
    "headers": st.dictionaries(st.text(max_size=5), SECONDS, max_size=3),
    "time_limit": SECONDS,
    "soft_time_limit": SECONDS,
}


@settings(
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.fixed_dictionaries({}, optional=OPTIONS), st.sampled_from(["call", "retry"]))
def test_any_options_of_a_call_are_refused_at_the_call_or_run_right(
    worker: Worker, take: Callable[..., list[Claimed]], options: dict[str, Any], how: str
) -> None:
    Job.objects.all().delete()
    if how == "retry":
        options = {key: value for key, value in options.items() if key in ("countdown", "eta")}
    if options.get("eta") is not None:
        options.pop("countdown", None)

    def body(self: Any) -> None:
        if how == "retry" and not self.request.retries:
            self.retry(**options)

    with fresh_registry():
        function = job(bind=True, name="any")(body)
        try:
            result = function.apply_async(**options) if how == "call" else function.delay()
        except ValueError:
            assert not Job.objects.exists()
            return
        _runs_to_an_end(worker, take, result.job.queue, refusable=how == "retry")


def _runs_to_an_end(
    worker: Worker, take: Callable[..., list[Claimed]], queue: str, refusable: bool
) -> None:
    """Let the job run through a claim, its record and its retry, as if all its time had come."""
    jobs.add.apply_async((1,), queue=queue)
    ends = {"SUCCESS", "REVOKED", "FAILURE"} if refusable else {"SUCCESS", "REVOKED"}
    for _ in range(2):
        Job.objects.exclude(status__in=["SUCCESS", "FAILURE", "REVOKED"]).update(status="PENDING")
        for row in Job.objects.all():
            assert timezone.is_aware(row.enqueued_at)
        outcomes = [execute(each, Environment()) for each in take(queues=[queue])]
        assert len(record(worker.pk, outcomes, "default")) == len(outcomes)
    statuses = dict(Job.objects.values_list("name", "status"))
    assert statuses[jobs.add.name] == "SUCCESS"
    assert statuses["any"] in ends


@contextlib.contextmanager
def fresh_registry() -> Iterator[None]:
    before = dict(registry._functions)
    try:
        yield
    finally:
        registry._functions.clear()
        registry._functions.update(before)
