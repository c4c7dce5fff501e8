from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import IntegrityError, NotSupportedError, connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from django_jobs import ArgumentError, DuplicateKey, QueueFull, chain, signals
from django_jobs.api.result import AsyncResult
from django_jobs.db import dialect_for
from django_jobs.define import registry
from django_jobs.define.context import JobContext
from django_jobs.define.current import Request, running
from django_jobs.enqueue.insert import write_alike
from django_jobs.enqueue.rows import alike_of
from django_jobs.models import Job
from django_jobs.values import Claimed
from tests import jobs
from tests.races import Aside, Meeting
from tests.waiting import LONG

pytestmark = pytest.mark.django_db


def clock() -> datetime.datetime:
    """The database's clock, as the columns keep it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {dialect_for(connection).now}")
        (now,) = cursor.fetchone()
    now = datetime.datetime.fromisoformat(now) if isinstance(now, str) else now
    return timezone.make_aware(now, datetime.UTC) if timezone.is_naive(now) else now


def seconds_between(one: datetime.datetime | None, other: datetime.datetime | None) -> float:
    assert one is not None
    assert other is not None
    return (one - other).total_seconds()


# --- the row ------------------------------------------------------------------------------------


def test_delay_writes_a_pending_row() -> None:
    before = clock()
    result = jobs.send.delay(7)
    row = Job.objects.get()
    assert result.id == row.id
    assert (row.name, row.status, row.queue, row.priority, row.rank) == (
        "tests.jobs.send", "PENDING", "mail", 5, -5,
    )  # fmt: skip
    assert (row.args, row.kwargs, row.headers, row.options) == ([7], {}, None, None)
    assert before <= row.enqueued_at <= clock()
    assert row.ready_at == row.enqueued_at
    assert (row.run_at, row.expires_at, row.worker_id, row.claims) == (None, None, None, 0)


def test_delay_is_one_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        jobs.send.delay(7)


def test_apply_async_options_are_written() -> None:
    result = jobs.add.apply_async(
        (1,),
        {"b": 2},
        queue="vip",
        priority=-9,
        headers={"trace": ["ü", 1]},
        time_limit=5,
        soft_time_limit=2.5,
        ignore_result=True,
    )
    row = result.job
    assert (row.args, row.kwargs) == ([1], {"b": 2})
    assert (row.queue, row.priority, row.headers) == ("vip", -9, {"trace": ["ü", 1]})
    assert row.options == {"time_limit": 5, "soft_time_limit": 2.5, "ignore_result": True}


def test_default_queue_is_a_setting(settings: Any) -> None:
    settings.DJANGO_JOBS = {"DEFAULT_QUEUE": "main"}
    assert jobs.add.delay(1).job.queue == "main"
    assert jobs.send.delay(1).job.queue == "mail"


def test_ids_are_in_the_order_of_the_calls() -> None:
    made = [jobs.add.delay(number).id for number in range(5)]
    assert list(Job.objects.order_by("id").values_list("id", flat=True)) == made


def test_enqueue_inside_a_job_names_parent_and_root() -> None:
    parent = Request(uuid=uuid.uuid4(), root_uuid=uuid.uuid4())
    token = running.set(JobContext(jobs.add, parent))
    try:
        row = jobs.add.delay(1).job
    finally:
        running.reset(token)
    assert (row.parent_id, row.root_id) == (parent.id, parent.root_id)
    assert jobs.add.delay(1).job.parent_id is None


# --- time ---------------------------------------------------------------------------------------


def test_countdown_is_added_to_the_database_s_clock() -> None:
    row = jobs.add.apply_async((1,), countdown=90.5).job
    assert row.status == "SCHEDULED"
    assert row.ready_at is None
    assert seconds_between(row.run_at, row.enqueued_at) == pytest.approx(90.5, abs=0.01)


@pytest.mark.parametrize("countdown", [0, -5, None])
def test_countdown_that_is_over_runs_at_once(countdown: float | None) -> None:
    row = jobs.add.apply_async((1,), countdown=countdown).job
    assert (row.status, row.run_at) == ("PENDING", None)


def test_eta_aware_is_that_moment() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5))
    eta = datetime.datetime(2040, 1, 1, 12, 0, 0, 123456, zone)
    row = jobs.add.apply_async((1,), eta=eta).job
    assert row.status == "SCHEDULED"
    assert row.run_at == eta


def test_eta_naive_is_in_the_current_time_zone() -> None:
    with timezone.override("Asia/Tokyo"):
        row = jobs.add.apply_async((1,), eta=datetime.datetime(2040, 1, 1, 12)).job  # noqa: DTZ001
    assert row.run_at == datetime.datetime(2040, 1, 1, 3, tzinfo=datetime.UTC)


def test_eta_and_countdown_together_are_refused() -> None:
    with pytest.raises(ValueError, match="countdown or eta, not both"):
        jobs.add.apply_async((1,), eta=timezone.now(), countdown=1)


@pytest.mark.parametrize(
    ("expires", "seconds"), [(30, 30), (1.5, 1.5), (datetime.timedelta(minutes=2), 120)]
)
def test_expires_after_a_time(expires: Any, seconds: float) -> None:
    row = jobs.add.apply_async((1,), expires=expires).job
    assert seconds_between(row.expires_at, row.enqueued_at) == pytest.approx(seconds, abs=0.01)


def test_expires_at_a_moment() -> None:
    moment = datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC)
    assert jobs.add.apply_async((1,), expires=moment).job.expires_at == moment
    assert jobs.add.apply_async((1,), expires=None).job.expires_at is None


def test_times_without_time_zone_support(settings: Any, vendor: str) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    settings.USE_TZ = False
    local = datetime.datetime.now()  # noqa: DTZ005
    named = jobs.add.apply_async((1,), eta=datetime.datetime(2040, 1, 1, 12)).job  # noqa: DTZ001
    aware = datetime.datetime(2040, 1, 1, 3, tzinfo=datetime.UTC)
    converted = jobs.add.apply_async((1,), eta=aware).job
    counted = jobs.add.apply_async((1,), countdown=60, expires=120).job
    assert named.run_at == converted.run_at == datetime.datetime(2040, 1, 1, 12)  # noqa: DTZ001
    assert seconds_between(counted.enqueued_at, local) == pytest.approx(0, abs=5)
    assert seconds_between(counted.run_at, counted.enqueued_at) == pytest.approx(60, abs=0.01)
    assert seconds_between(counted.expires_at, counted.enqueued_at) == pytest.approx(120, abs=0.01)


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", "Pacific/Kiritimati"])
@pytest.mark.parametrize("year", [1900, 8999])
def test_first_and_last_moment_that_is_taken_can_be_read(
    settings: Any, take: Callable[..., list[Claimed]], boss: Client, zone: str, year: int
) -> None:
    settings.TIME_ZONE = zone
    at = datetime.datetime(year, 1, 1) if year == 1900 else datetime.datetime(year, 12, 31, 23, 59)  # noqa: DTZ001
    jobs.add.apply_async((1,), eta=at)
    jobs.add.apply_async((1,), expires=at)
    Job.objects.update(status="PENDING")
    timed, expiring = take()
    assert timed.run_at == expiring.expires_at == timezone.make_aware(at)
    assert boss.get("/admin/django_jobs/job/").status_code == 200
    assert boss.get(f"/admin/django_jobs/job/{timed.id}/change/").status_code == 200


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"queue": ""}, ValueError, "queue must be"),
        ({"queue": "q" * 101}, ValueError, "queue must be"),
        ({"priority": 40_000}, ValueError, "priority must be"),
        ({"ignore_result": "no"}, ValueError, "ignore_result must be True or False, got 'no'"),
        ({"durable": "no"}, ValueError, "durable must be True or False, got 'no'"),
        ({"headers": "x"}, ValueError, "headers must be a dict of JSON, got a str"),
        ({"task_id": "nope"}, ValueError, "task_id must be a UUID or its text, got 'nope'"),
        ({"countdown": "5"}, ValueError, "countdown must be seconds, got '5'"),
        ({"countdown": float("nan")}, ValueError, "countdown"),
        ({"countdown": float("inf")}, ValueError, "countdown"),
        ({"countdown": 1e300}, ValueError, "countdown"),
        ({"eta": 5}, ValueError, "Seconds go into countdown"),
        ({"expires": "soon"}, ValueError, "expires must be seconds, a timedelta or a datetime"),
        ({"expires": float("nan")}, ValueError, "expires"),
        ({"expires": datetime.datetime.max}, ValueError, "expires must lie in the years 1900 to"),  # noqa: DTZ901
        ({"eta": datetime.datetime.min}, ValueError, "eta must lie in the years 1900 to 8999"),  # noqa: DTZ901
        (
            {"eta": datetime.datetime.max.replace(tzinfo=datetime.UTC)},
            ValueError,
            "eta must lie in the years 1900 to 8999",
        ),
        ({"expires": datetime.timedelta.max}, ValueError, "expires must be from"),
        ({"queue": "a,b"}, ValueError, "queue must not have a comma"),
        ({"expires": 1e300}, ValueError, "expires"),
        ({"time_limit": True}, ValueError, "time_limit must be seconds"),
        ({"time_limit": -1}, ValueError, "time_limit must be"),
        ({"soft_time_limit": 0}, ValueError, "soft_time_limit must be"),
        ({"headers": {"a": float("nan")}}, ArgumentError, "headers"),
        ({"task_id": "no-uuid"}, ValueError, "UUID"),
        ({"colour": 3}, TypeError, "Unknown option colour. Allowed: countdown"),
        ({"stamped_headers": ["a"]}, TypeError, r"use headers=\{...\}\). Allowed:"),
        ({"time_limits": 3}, TypeError, r"time_limits \(did you mean time_limit=\?\). Allowed:"),
    ],
)
def test_impossible_option_writes_nothing(
    options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        jobs.add.apply_async((1,), **options)
    assert not Job.objects.exists()


def test_arguments_that_do_not_fit_write_nothing() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        jobs.add.delay()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        jobs.add.delay_many([(1,), (1, 2, 3)])
    assert not Job.objects.exists()


def test_typing_false_leaves_the_check_to_the_worker(registered: Any) -> None:
    from django_jobs import job

    @job(typing=False)
    def body(a: int) -> None: ...

    assert body.apply_async(()).job.args == []


def test_argument_that_is_no_json_writes_nothing() -> None:
    with pytest.raises(ArgumentError, match=r"Pass user\.pk, and load"):
        jobs.echo.delay(User())
    assert not Job.objects.exists()


def test_payload_limit_is_a_setting(settings: Any) -> None:
    settings.DJANGO_JOBS = {"MAX_PAYLOAD_BYTES": 12}
    jobs.echo.delay("123456")
    with pytest.raises(ArgumentError, match="13 bytes as JSON, allowed are 12"):
        jobs.echo.delay("1234567")


# --- ids of the caller --------------------------------------------------------------------------


def test_task_id_names_the_job() -> None:
    given = uuid.uuid4()
    assert jobs.add.apply_async((1,), task_id=given).id == given
    assert jobs.add.apply_async((1,), task_id=str(uuid.UUID(int=5))).id == uuid.UUID(int=5)
    assert Job.objects.filter(id=given).exists()


def test_existing_task_id_is_refused_and_the_transaction_can_commit() -> None:
    first = jobs.add.delay(1)
    with transaction.atomic():
        with pytest.raises(DuplicateKey, match=f"{first.id} exists already"):
            jobs.add.apply_async((2,), task_id=first.id)
        jobs.add.delay(3)
    assert [row.args for row in Job.objects.order_by("id")] == [[1], [3]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", [
    lambda given: jobs.add.apply_async((1,), task_id=given),
    lambda given: chain(jobs.add.s(1), jobs.add.s()).apply_async(task_id=given),
])  # fmt: skip
def test_task_id_that_two_callers_use_at_once_is_refused_to_one(
    call: Callable[[uuid.UUID], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, both = uuid.uuid4(), Meeting(2)
    insert = type(dialect_for(connection)).insert

    def meet(self: Any, cursor: Any, rows: Any) -> None:
        both.wait()  # both have looked, and neither has written
        insert(self, cursor, rows)

    monkeypatch.setattr(type(dialect_for(connection)), "insert", meet)
    callers = [Aside(lambda: call(given)) for _ in range(2)]
    errors = []
    for caller in callers:
        try:
            caller.result()
        except DuplicateKey as error:
            errors.append(str(error))
    assert errors == [f"A job with the id {given} exists already. Leave task_id out for a new one."]
    assert Job.objects.filter(id=given).count() == 1


def test_task_id_of_many_is_refused() -> None:
    with pytest.raises(ValueError, match="task_id names one job"):
        jobs.add.delay_many([(1,), (2,)], task_id=uuid.uuid4())


# --- many ---------------------------------------------------------------------------------------


def test_delay_many_takes_tuples_and_dicts_in_order() -> None:
    results = jobs.add.delay_many([(1,), {"a": 2}, [3, 4]], priority=3)
    rows = [result.job for result in results]
    assert [(row.args, row.kwargs) for row in rows] == [([1], {}), ([], {"a": 2}), ([3, 4], {})]
    assert {row.priority for row in rows} == {3}
    assert [row.id for row in rows] == sorted(row.id for row in rows)


def test_delay_many_refuses_bare_values() -> None:
    with pytest.raises(TypeError, match=r"got an int. For one argument write \(value,\)"):
        jobs.add.delay_many([5])  # type: ignore[list-item]


def test_delay_many_of_nothing_writes_nothing(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        assert jobs.add.delay_many([]) == []


def test_delay_many_in_chunks_is_one_transaction(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(type(dialect_for(connection)), "insert_chunk", 3)
    # Three chunks within a savepoint: inside of the test's transaction BEGIN is SAVEPOINT.
    with django_assert_num_queries(5):
        results = jobs.add.delay_many((number,) for number in range(8))
    assert [row.args for row in Job.objects.order_by("id")] == [[number] for number in range(8)]
    assert len(results) == 8


@pytest.mark.django_db(transaction=True)
def test_delay_many_of_which_one_chunk_fails_writes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(dialect_for(connection)), "insert_chunk", 2)
    seen = []

    def failing(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        if len([each for each in seen if "INSERT" in each]) == 3:
            raise RuntimeError("cut")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(failing), pytest.raises(RuntimeError, match="cut"):
        jobs.add.delay_many((number,) for number in range(6))
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"queue": "own", "priority": -3, "headers": {"a": 'ü\\"'}},
        {"countdown": 60.0, "expires": 3600, "time_limit": 5},
        {"eta": datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC), "max_retries": 1},
    ],
)
def test_calls_that_differ_in_their_arguments_make_the_rows_of_single_calls(options: Any) -> None:
    calls: Any = [
        ((1, 'a "quoted" \\ text, {NULL}'), {}), ((), {"a": None}), (("ü\n",), {"b": "NULL"}),
    ]  # fmt: skip
    alone = [jobs.echo.apply_async(args, kwargs, **options).job for args, kwargs in calls]
    alike = alike_of(jobs.echo, calls, options)
    assert alike is not None
    using = write_alike(alike)
    together = [Job.objects.using(using).get(id=job_id) for job_id in alike.ids]
    assert list(map(columns, together)) == list(map(columns, alone))
    for one, other in zip(together, alone, strict=True):
        for at in ("enqueued_at", "ready_at", "run_at", "expires_at"):
            moments = getattr(one, at), getattr(other, at)
            assert moments == (None, None) or 0 <= seconds_between(*moments) < LONG


def columns(row: Job) -> dict[str, Any]:
    """The values of *row* without its id and its times."""
    own = {"_state", "id", "enqueued_at", "ready_at", "run_at", "expires_at"}
    return {name: value for name, value in vars(row).items() if name not in own}


def test_delay_many_keeps_what_a_route_says_of_each_call(settings: Any) -> None:
    settings.DJANGO_JOBS = {"ROUTES": [lambda name, args, kwargs: {"queue": f"queue-{args[0]}"}]}
    assert [each.job.queue for each in jobs.add.delay_many([(1,), (2,)])] == ["queue-1", "queue-2"]
    settings.DJANGO_JOBS = {"ROUTES": {"tests.jobs.*": {"queue": "routed", "priority": 2}}}
    rows = [each.job for each in jobs.add.delay_many([(1,), (2,)])]
    assert {(row.queue, row.priority) for row in rows} == {("routed", 2)}


def test_delay_many_gives_each_call_its_key_of_a_fair_queue(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"FAIR_BY": "a"}}}
    rows = [each.job for each in jobs.add.delay_many([(1,), (2,), (1,)])]
    assert rows[0].fair_key == rows[2].fair_key != rows[1].fair_key


def test_delay_many_that_a_queue_does_not_hold_writes_nothing(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"MAX_PENDING": 2}}}
    jobs.add.delay(1)
    with pytest.raises(QueueFull, match="2 more were refused"):
        jobs.add.delay_many([(1,), (2,)])
    assert Job.objects.count() == 1


def test_delay_many_inside_of_a_job_names_its_parent_and_root() -> None:
    parent = uuid.uuid4()
    context = JobContext(jobs.add, Request(uuid=parent, root_uuid=parent))
    token = running.set(context)
    try:
        results = jobs.add.delay_many([(1,), (2,)])
    finally:
        running.reset(token)
    assert {(each.job.root_id, each.job.parent_id) for each in results} == {(parent, parent)}
    assert context.request.children == results


# --- transactions -------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_job_and_business_row_exist_together_or_not_at_all() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        User.objects.create(username="rolled back")
        lost = jobs.send.delay(1)
        raise RuntimeError
    with transaction.atomic():
        User.objects.create(username="kept")
        kept = jobs.send.delay(2)
    assert list(User.objects.values_list("username", flat=True)) == ["kept"]
    assert list(Job.objects.values_list("id", flat=True)) == [kept.id]
    with pytest.raises(LookupError, match="rolled back"):
        AsyncResult(lost.id).status  # noqa: B018


@pytest.mark.django_db(transaction=True)
def test_job_of_a_savepoint_that_rolls_back_is_gone() -> None:
    with transaction.atomic():
        kept = jobs.add.delay(1)
        with pytest.raises(RuntimeError), transaction.atomic():
            jobs.add.delay(2)
            raise RuntimeError
    assert list(Job.objects.values_list("id", flat=True)) == [kept.id]


@pytest.mark.django_db(transaction=True)
def test_job_from_on_commit_is_written_after_the_commit() -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: jobs.add.delay(1))
        assert not Job.objects.exists()
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_durable_job_outlives_the_rollback(vendor: str) -> None:
    if vendor == "sqlite":
        with (
            transaction.atomic(),
            pytest.raises(NotSupportedError, match=r"SQLite has one\. Enqueue before or after"),
        ):
            jobs.add.apply_async((1,), durable=True)
        return
    with pytest.raises(RuntimeError), transaction.atomic():
        before = connection.connection
        User.objects.create(username="rolled back")
        durable = jobs.add.apply_async((1,), durable=True)
        jobs.add.delay(2)
        raise RuntimeError
    assert list(Job.objects.values_list("id", flat=True)) == [durable.id]
    assert not User.objects.exists()
    assert connection.connection is before


@pytest.mark.django_db(transaction=True)
def test_durable_outside_of_a_transaction_is_an_ordinary_enqueue(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(1):
        durable = jobs.add.apply_async((1,), durable=True)
    assert durable.job.status == "PENDING"


@pytest.mark.django_db(transaction=True)
def test_failed_enqueue_leaves_the_connection_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = jobs.add.delay(1)
    with monkeypatch.context() as patch:
        patch.setattr("django_jobs.enqueue.rows.uuid7", lambda: taken.id)
        with pytest.raises(IntegrityError):
            jobs.add.delay(2)
    assert jobs.add.delay(3).status == "PENDING"
    assert Job.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_enqueue_joins_a_transaction_that_the_caller_manages() -> None:
    connection.set_autocommit(False)
    try:
        jobs.add.delay(1)
        connection.rollback()
    finally:
        connection.set_autocommit(True)
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_notification_for_a_transaction(vendor: str) -> None:
    if vendor != "postgresql":
        assert dialect_for(connection).listen() is False
        return
    dialect_for(connection).listen()
    assert dialect_for(connection).received() == []
    with transaction.atomic():
        for number in range(3):
            jobs.add.delay(number)
            jobs.send.delay(number)
        jobs.add.apply_async((1,), countdown=60)
        with pytest.raises(RuntimeError), transaction.atomic():
            jobs.add.apply_async((1,), queue="rolled back")
            raise RuntimeError
    topics = [note.payload for note in connection.connection.notifies(timeout=LONG, stop_after=3)]
    with connection.cursor() as cursor:
        cursor.execute("UNLISTEN *")
    assert sorted(set(topics) - {"rolled back"}) == ["@", "default", "mail"]
    assert len(topics) == len(set(topics))


@pytest.mark.django_db(transaction=True)
def test_notification_that_fails_does_no_harm_to_the_commit(
    monkeypatch: pytest.MonkeyPatch, vendor: str
) -> None:
    def broken(topics: Any) -> None:
        raise RuntimeError("no notification")

    monkeypatch.setattr(dialect_for(connection), "notify", broken)
    with transaction.atomic():
        jobs.add.delay(1)
    assert Job.objects.count() == 1


# --- back-pressure ------------------------------------------------------------------------------


def test_queue_full_refuses_and_writes_nothing(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"MAX_PENDING": 3}}}
    jobs.add.delay_many([(1,), (2,)])
    with pytest.raises(QueueFull, match=r"holds 2 pending jobs and may hold 3 .*; 2 more"):
        jobs.add.delay_many([(3,), (4,)])
    jobs.add.delay(3)
    with pytest.raises(QueueFull):
        jobs.add.delay(4)
    jobs.send.delay(1)
    Job.objects.filter(args=[1], queue="default").update(status="STARTED")
    jobs.add.delay(4)
    assert Job.objects.count() == 5


def test_max_pending_costs_one_query(
    settings: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"MAX_PENDING": 3}}}
    with django_assert_num_queries(2):
        jobs.add.delay(1)


# --- signal and async twins ---------------------------------------------------------------------


@pytest.fixture
def enqueued() -> Any:
    seen: list[dict[str, Any]] = []

    def receive(sender: str, **named: Any) -> None:
        seen.append({"sender": sender, **named})

    signals.job_enqueued.connect(receive)
    yield seen
    signals.job_enqueued.disconnect(receive)


def test_job_enqueued_is_sent_once_for_many(enqueued: list[dict[str, Any]]) -> None:
    results = jobs.send.delay_many([(1,), (2,)])
    (sent,) = enqueued
    assert sent["sender"] == "tests.jobs.send"
    assert sent["job_ids"] == [result.id for result in results]
    assert sent["queue"] == "mail"


def test_receiver_s_error_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    def broken(sender: str, **named: Any) -> None:
        raise RuntimeError("receiver")

    signals.job_enqueued.connect(broken)
    try:
        assert jobs.add.delay(1).status == "PENDING"
    finally:
        signals.job_enqueued.disconnect(broken)
    assert "signal receiver" in caplog.text


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("enqueue", [jobs.add.delay, lambda number: jobs.add.s(number).delay()])
def test_failing_statement_of_a_receiver_leaves_the_transaction_intact(
    raw: bool, enqueue: Callable[[int], Any], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(sender: str, **named: Any) -> None:
        if raw:
            connection.cursor().execute("SELECT no_column FROM no_table")
        User.objects.create(username=None)

    signals.job_enqueued.connect(broken)
    try:
        with transaction.atomic():
            result = enqueue(1)
            assert jobs.add.delay(2).status == "PENDING"
    finally:
        signals.job_enqueued.disconnect(broken)
    assert result.status == "PENDING"
    assert "signal receiver" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_async_twins_enqueue() -> None:
    async def enqueue() -> list[Any]:
        one = await jobs.add.adelay(1, b=2)
        two = await jobs.add.aapply_async((3,), queue="vip")
        return [one, two, *await jobs.add.adelay_many([(4,), (5,)])]

    results = async_to_sync(enqueue)()
    assert [result.job.args for result in results] == [[1], [3], [4], [5]]
    assert results[0].job.kwargs == {"b": 2}
    assert results[1].job.queue == "vip"


def test_job_function_need_not_be_registered_to_be_enqueued(
    registered: dict[str, Any], work: Callable[..., Any]
) -> None:
    registered.pop("tests.jobs.add")
    assert registry.find("tests.jobs.add") is None
    assert jobs.add.delay(1).status == "PENDING"


def test_signal_of_an_enqueue_comes_after_the_insert_in_its_transaction() -> None:
    seen: list[Any] = []

    def look(sender: str, *, job_ids: list[Any], **kwargs: Any) -> None:
        rows = Job.objects.filter(pk__in=job_ids)
        seen.append((sender, list(rows.values_list("headers", flat=True))))

    signals.job_enqueued.connect(look)
    try:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            jobs.add.apply_async((1,), headers={"order": 7})
            raise ZeroDivisionError
    finally:
        signals.job_enqueued.disconnect(look)
    assert seen == [("tests.jobs.add", [{"order": 7}])]
    assert not Job.objects.exists()
