"""What every database must do alike: the same tests run on PostgreSQL, MariaDB and SQLite."""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from django_jobs import ArgumentError
from django_jobs.control import pause_queue, resume_queue
from django_jobs.db import clock, dialect_for
from django_jobs.enqueue.rows import rows_of
from django_jobs.metrics import snapshot
from django_jobs.models import Job, Queue, Worker
from django_jobs.run.claim import claim, ready_queues
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.values import Claimed
from tests import jobs
from tests.races import held
from tests.waiting import LONG

pytestmark = pytest.mark.django_db

Take = Callable[..., list[Claimed]]


def enqueue(*places: tuple[str, int]) -> list[Any]:
    """Enqueue one job for each (queue, priority), in this order; its argument is its number."""
    return [
        jobs.add.apply_async((number,), queue=queue, priority=priority)
        for number, (queue, priority) in enumerate(places)
    ]


def numbers(claimed: Sequence[Claimed]) -> list[int]:
    return [int(found.args.strip("[]")) for found in claimed]


# --- the order of the claim ---------------------------------------------------------------------


def test_claim_goes_by_priority_then_age(take: Take) -> None:
    enqueue(("default", 0), ("default", 5), ("default", -1), ("default", 5), ("default", 0))
    assert numbers(take()) == [1, 3, 0, 4, 2]


def test_claim_goes_by_priority_then_age_over_several_queues(take: Take) -> None:
    enqueue(("z", 0), ("a", 0), ("m", 5), ("a", 5), ("z", 5), ("a", -5), ("m", 0))
    assert numbers(take(queues=["a", "m", "z"])) == [2, 3, 4, 0, 1, 6, 5]


def test_claim_in_batches_keeps_that_order(take: Take) -> None:
    enqueue(("z", 0), ("a", 0), ("m", 5), ("a", 5), ("z", 5), ("a", -5), ("m", 0))
    batches = [numbers(take(2, ["a", "m", "z"])) for _ in range(5)]
    assert batches == [[2, 3], [4, 0], [1, 6], [5], []]


def test_claim_takes_only_its_queues(take: Take) -> None:
    enqueue(("a", 0), ("b", 0), ("c", 0))
    assert numbers(take(queues=["a", "c", "nobody's"])) == [0, 2]
    assert numbers(take(queues=["b"])) == [1]


@pytest.mark.parametrize("queues", [["a"], ["a", "b"]])
def test_claim_marks_the_rows(worker: Worker, take: Take, queues: list[str]) -> None:
    (result,) = enqueue(("a", 3))
    (claimed,) = take(queues=queues)
    row = Job.objects.get()
    assert (row.status, row.worker_id, row.claims) == ("STARTED", worker.pk, 1)
    assert row.started_at is not None
    assert row.started_at >= row.enqueued_at
    assert (claimed.id, claimed.claims, claimed.priority) == (result.id, 1, 3)
    assert (claimed.args, claimed.kwargs, claimed.expired) == ("[0]", "{}", False)


@pytest.mark.parametrize("status", ["WAITING", "SCHEDULED", "STARTED", "RETRY", "SUCCESS"])
def test_claim_takes_pending_jobs_only(take: Take, status: str) -> None:
    enqueue(("default", 0))
    Job.objects.update(status=status)
    assert take() == []
    assert take(queues=["default", "other"]) == []


def test_claim_of_nothing(worker: Worker) -> None:
    assert claim(worker.pk, [], 5, "default") == ([], False)
    assert claim(worker.pk, ["default"], 0, "default") == ([], False)
    assert claim(worker.pk, ["default"], 5, "default") == ([], False)
    assert claim(worker.pk, ["default", "other"], 5, "default") == ([], False)


@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
def test_expired_job_is_claimed_and_says_so(take: Take, queues: list[str]) -> None:
    jobs.add.apply_async((0,), expires=-1)
    jobs.add.apply_async((1,), expires=60)
    jobs.add.delay(2)
    assert [found.expired for found in take(queues=queues)] == [True, False, False]


@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
def test_claimed_values_are_the_row_s(take: Take, queues: list[str]) -> None:
    given = uuid.uuid4()
    jobs.echo.apply_async(
        ("ü",), {"x": [1]}, task_id=given, headers={"h": None}, expires=60, ignore_result=True
    )
    Job.objects.update(
        root_id=given, parent_id=given, group_id=given, has_dependents=True, retries=2, crashes=1,
        deferrals=3, run_at=clock("default", 5),
    )  # fmt: skip
    (claimed,) = take(queues=queues)
    row = Job.objects.get()
    assert claimed.id == claimed.root_id == claimed.parent_id == claimed.group_id == given
    assert (claimed.args, claimed.kwargs) == ('["ü"]', '{"x":[1]}')
    assert (claimed.headers, claimed.options) == ('{"h":null}', '{"ignore_result":true}')
    assert (claimed.retries, claimed.crashes, claimed.deferrals) == (2, 1, 3)
    assert claimed.has_dependents is True
    assert claimed.expired is False
    assert (claimed.run_at, claimed.expires_at) == (row.run_at, row.expires_at)


@pytest.mark.parametrize("number", [1, 2])
def test_insert_of_jobs_that_wait(number: int) -> None:
    group = uuid.uuid4()
    plain = rows_of(jobs.add, [((n,), {}) for n in range(number)], {})
    rows = [
        row._replace(
            status="WAITING", group_id=group, pending_parents=3, has_dependents=True,
        )
        for row in plain
    ]  # fmt: skip
    with connection.cursor() as cursor:
        dialect_for(connection).insert(cursor, rows)
    for row in Job.objects.all():
        assert (row.status, row.ready_at, row.group_id) == ("WAITING", None, group)
        assert (row.pending_parents, row.has_dependents) == (3, True)
    assert Job.objects.count() == number


def test_rows_that_differ_in_everything_are_inserted_as_they_are() -> None:
    moment = timezone.now() + datetime.timedelta(days=1)
    first = rows_of(jobs.add, [((1, 2), {})], {})[0]
    texts = ['a "quoted" \\ {b, c}', "NULL", "ü\n\t'%s", "x" * 64]
    second = first._replace(
        id=uuid.uuid4(), name=texts[0], queue=texts[1], rank=-7, status="WAITING",
        args=json.dumps([texts]), kwargs=json.dumps({texts[0]: None}), headers='{"a": "\\""}',
        options="{}", eta=moment, expires_at=moment, root_id=uuid.uuid4(), parent_id=uuid.uuid4(),
        unique_key=texts[3], schedule_id=2**40, group_id=uuid.uuid4(), pending_parents=3,
        has_dependents=True,
    )  # fmt: skip
    third = second._replace(
        id=uuid.uuid4(), eta=None, countdown=3_600.5, expires_at=None, expires_in=7_200.0
    )
    with connection.cursor() as cursor:
        dialect_for(connection).insert(cursor, [first, second, third])
    plain, full, relative = (Job.objects.get(pk=row.id) for row in (first, second, third))
    assert (plain.args, plain.run_at, plain.expires_at) == ([1, 2], None, None)
    assert (plain.status, plain.has_dependents, plain.ready_at) == (
        "PENDING", False, plain.enqueued_at,
    )  # fmt: skip
    assert (full.args, full.kwargs) == ([texts], {texts[0]: None})
    assert (full.headers, full.options) == ({"a": '"'}, {})
    assert (full.run_at, full.expires_at, full.ready_at) == (moment, moment, None)
    for name in ("name", "queue", "rank", "status", "root_id", "parent_id", "unique_key",
                 "schedule_id", "group_id", "pending_parents", "has_dependents"):  # fmt: skip
        assert getattr(full, name) == getattr(second, name)
    assert (relative.run_at - relative.enqueued_at).total_seconds() == 3_600.5
    assert (relative.expires_at - relative.enqueued_at).total_seconds() == 7_200.0


# --- who may claim ------------------------------------------------------------------------------


@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
def test_paused_queue_gives_nothing(take: Take, queues: list[str]) -> None:
    enqueue(("default", 0), ("other", 0))
    Queue.objects.create(name="default", paused_at=clock("default"))
    Queue.objects.create(name="other")
    assert numbers(take(queues=queues)) == ([1] if len(queues) > 1 else [])
    Queue.objects.update(paused_at=None)
    assert 0 in numbers(take(queues=queues))


@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
def test_worker_whose_lease_is_over_gets_nothing(
    new_worker: Callable[..., Worker], queues: list[str]
) -> None:
    enqueue(("default", 0))
    late = new_worker(lease_seconds=-0.001)
    lost = new_worker(lost_at=clock("default"))
    for nobody in (late.pk, lost.pk, uuid.uuid4()):
        assert claim(nobody, queues, 5, "default") == ([], False)
    assert len(claim(new_worker(lease_seconds=5).pk, queues, 5, "default")[0]) == 1


def test_ready_queues_are_those_with_pending_jobs() -> None:
    assert ready_queues("default") == []
    enqueue(("b", 0), ("a", 3), ("b", -1), ("Ünï", 0), ("done", 0))
    Job.objects.filter(queue="done").update(status="SUCCESS")
    jobs.add.apply_async((9,), queue="later", countdown=60)
    assert sorted(ready_queues("default")) == ["a", "b", "Ünï"]


def test_ready_queues_tell_when_the_time_of_a_job_has_come() -> None:
    jobs.add.apply_async((1,), countdown=60)
    jobs.add.apply_async((2,), countdown=60)
    assert ready_queues("default") == []
    for status in ("RETRY", "SCHEDULED"):
        Job.objects.filter(args=[1]).update(status=status, run_at=clock("default", -0.01))
        assert set(ready_queues("default")) == {"@"}
    Job.objects.filter(args=[1]).update(status="FAILURE")
    assert ready_queues("default") == []


def test_queue_names_are_told_apart_by_case(take: Take) -> None:
    enqueue(("mail", 0), ("Mail", 0), ("MAIL", 0))
    assert sorted(ready_queues("default")) == ["MAIL", "Mail", "mail"]
    assert numbers(take(queues=["Mail"])) == [1]
    assert numbers(take(queues=["mail", "MAIL"])) == [0, 2]


def test_queue_names_are_told_apart_by_accent(take: Take) -> None:
    enqueue(("a", 0), ("á", 0))
    assert numbers(take(queues=["a"])) == [0]
    assert numbers(take(queues=["á"])) == [1]


@pytest.mark.parametrize("queue", ["mail ", " mail", "@", "!"])
def test_queue_name_that_means_something_else_somewhere_is_refused(queue: str) -> None:
    with pytest.raises(ValueError, match="queue must"):
        jobs.add.apply_async((1,), queue=queue)


# --- two workers at once ------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("queues", [["a"], ["a", "b", "c"]])
def test_no_job_is_claimed_twice(new_worker: Callable[..., Worker], queues: list[str]) -> None:
    jobs.add.delay_many(((number,) for number in range(400)), queue="a")
    for queue in queues[1:]:
        jobs.add.delay_many(((number,) for number in range(200)), queue=queue)
    total = Job.objects.count()
    claimed: list[list[Claimed]] = [[] for _ in range(4)]
    errors: list[BaseException] = []
    barrier = threading.Barrier(4)

    def work(mine: list[Claimed], worker_id: uuid.UUID) -> None:
        barrier.wait(LONG)
        try:
            while True:
                found, more = claim(worker_id, queues, 7, "default")
                mine += found
                if not found and not more:
                    return
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    workers = [new_worker().pk for _ in range(4)]
    threads = [
        threading.Thread(target=work, args=(mine, worker_id))
        for mine, worker_id in zip(claimed, workers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert errors == []
    everything = [found.id for mine in claimed for found in mine]
    assert len(everything) == len(set(everything)) == total
    assert not Job.objects.exclude(status="STARTED", claims=1).exists()
    for mine, worker_id in zip(claimed, workers, strict=True):
        owned = set(Job.objects.filter(worker_id=worker_id).values_list("id", flat=True))
        assert owned == {found.id for found in mine}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
def test_claim_does_not_wait_for_rows_that_another_holds(
    new_worker: Callable[..., Worker], vendor: str, queues: list[str]
) -> None:
    if vendor == "sqlite":
        # One writer at a time: there are no locked rows to pass by.
        assert not connection.features.has_select_for_update
        return
    enqueue(*[("default", 0)] * 4)
    worker = new_worker()
    with first_jobs_locked(2):
        first, contended = claim(worker.pk, queues, 10, "default")
        rest = claim(worker.pk, queues, 10, "default")
    assert numbers(first) == [2, 3]
    if len(queues) > 1:
        # The caller must not take the queues for empty.
        assert contended
        assert rest == ([], True)
    assert numbers(claim(worker.pk, queues, 10, "default")[0]) == [0, 1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
def test_locked_jobs_do_not_hide_those_behind_them(
    new_worker: Callable[..., Worker], vendor: str, queues: list[str], limit: int
) -> None:
    if vendor == "sqlite":
        return  # One writer at a time.
    enqueue(*[("default", 5)] * 30, ("default", 1), ("other", 3), ("other", 0), ("default", 2))
    worker = new_worker()
    with first_jobs_locked(30):
        taken = []
        for _ in range(4 // limit):
            found, contended = claim(worker.pk, queues, limit, "default")
            assert not contended
            taken += numbers(found)
    assert taken == ([33, 30] if len(queues) == 1 else [31, 33, 30, 32])


def first_jobs_locked(number: int) -> contextlib.AbstractContextManager[None]:
    """Let another transaction hold the oldest jobs."""
    return held(lambda: list(Job.objects.select_for_update().order_by("id")[:number]))


def test_claim_serves_any_number_of_queues(take: Take) -> None:
    names = [f"queue-{number:04}" for number in range(1_200)]
    enqueue(("queue-0003", 0), ("queue-1199", 7), ("queue-0600", 0), ("queue-0700", 1))
    assert numbers(take(1, queues=names)) == [1]
    pause_queue("queue-0700")
    assert numbers(take(9, queues=names)) == [0, 2]
    resume_queue("queue-0700")
    assert numbers(take(9, queues=names)) == [3]


# --- the number of statements -------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("batch", [1, 10, 100])
def test_statements_of_an_enqueue(
    batch: int, vendor: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # PostgreSQL: one round trip inserts a job and wakes the workers, for many there are two.
    # SQLite: BEGIN and COMMIT around many, which no network makes slow.
    several = {"sqlite": 3, "postgresql": 2, "mysql": 1}[vendor]
    with django_assert_num_queries(several if batch > 1 else 1):
        jobs.add.delay_many((number,) for number in range(batch))
    assert Job.objects.count() == batch


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("batch", [1, 10, 100])
@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
def test_statements_of_a_claim(
    worker: Worker,
    batch: int,
    queues: list[str],
    vendor: str,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    jobs.add.delay_many((number,) for number in range(batch))
    # MariaDB: BEGIN, SELECT … SKIP LOCKED, UPDATE, COMMIT; several queues: the first ids before.
    expected = {"sqlite": 1, "postgresql": 1, "mysql": 4 if len(queues) == 1 else 5}
    with django_assert_num_queries(expected[vendor]):
        found, _ = claim(worker.pk, queues, batch, "default")
    assert len(found) == batch


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("batch", [1, 10, 100])
def test_statements_of_recording_successes(
    worker: Worker, batch: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    jobs.add.delay_many((number,) for number in range(batch))
    found, _ = claim(worker.pk, ["default"], batch, "default")
    outcomes = [execute(one, Environment()) for one in found]
    with django_assert_num_queries(1):
        assert record(worker.pk, outcomes, "default") == outcomes
    assert Job.objects.filter(status="SUCCESS").count() == batch


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("batch", [1, 10, 100])
def test_statements_of_recording_failures(
    worker: Worker, batch: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    jobs.fail.delay_many(() for _ in range(batch))
    found, _ = claim(worker.pk, ["default"], batch, "default")
    outcomes = [execute(one, Environment()) for one in found]
    # BEGIN, UPDATE, INSERT of the attempts, COMMIT; SQLite takes 999 parameters in older Djangos.
    split = connection.features.max_query_params == 999 and batch == 100
    with django_assert_num_queries(4 + split):
        record(worker.pk, outcomes, "default")
    assert Job.objects.filter(status="FAILURE").count() == batch


# --- one verdict --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        0, -1, 2**63 - 1, -(2**63), 1e16, 1e-320, 1.7976931348623157e308, -0.0, 0.1, "", " ", "'",
        '"', "\\", "%s %(a)s %%", "\u2028", "\ufeff", "\uffff", "\U0001f600", "e\u0301", "İ", "ß",
        "\r\n\t\x01\x7f", "a" * 100_000, True, None, [], {}, {"": ""}, {"b": 1, "a": 2},
        [[[[]]]], "2026-01-02T03:04:05Z", "null", "\\u0000",
    ],
)  # fmt: skip
def test_value_comes_back_as_it_went_in(work: Callable[..., Any], value: Any) -> None:
    result = jobs.echo.delay(value, key=value)
    work()
    row = Job.objects.get()
    assert repr(row.args) == repr([value])
    assert repr(row.kwargs) == repr({"key": value})
    assert repr(result.get(timeout=0)) == repr([[value], {"key": value}])


@pytest.mark.parametrize(
    "value",
    ["\0", "a\0b", "\ud800", float("nan"), float("inf"), 2**63, -(2**63) - 1, {1: 1}, {"\0": 1},
     b"", object(), "x" * 256 * 1024],
)  # fmt: skip
def test_value_that_one_database_refuses_is_refused_by_all(value: Any) -> None:
    with pytest.raises(ArgumentError):
        jobs.echo.delay(value)
    with pytest.raises(ArgumentError):
        jobs.echo.apply_async(headers={"h": value})
    assert not Job.objects.exists()


def test_largest_payload_is_stored() -> None:
    text = "é" * ((256 * 1024 - 6) // 2)
    assert jobs.echo.delay(text).job.args == [text]


# --- clocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 0.25, -0.25, 1e-6, 3600, -86_400])
def test_clock_adds_seconds(seconds: float) -> None:
    jobs.add.delay(1)
    began = time.monotonic()
    Job.objects.update(run_at=clock("default"), expires_at=clock("default", seconds))
    # On SQLite, Python reads the clock for each column.
    most = 0.01 + time.monotonic() - began
    row = Job.objects.get()
    assert row.expires_at is not None
    assert row.run_at is not None
    assert (row.expires_at - row.run_at).total_seconds() == pytest.approx(seconds, abs=most)


def test_dialect_is_made_once_per_connection() -> None:
    assert dialect_for(connection) is dialect_for(connection)


# --- long queries -------------------------------------------------------------------------------


def test_long_query_is_not_compiled_and_leaves_the_session_as_it_was(vendor: str) -> None:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL compiles queries")
    with connection.cursor() as cursor:
        shown = dialect_for(connection).long_query(
            cursor, "SELECT current_setting('jit'), %s::int", [5]
        )
    assert shown == [("off", 5)]


@pytest.mark.django_db(transaction=True)
def test_look_of_the_dashboard_is_not_compiled(
    vendor: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL compiles queries")
    jobs.add.delay(1)
    with django_assert_num_queries(6) as captured:
        snapshot.look("default")
    long = [query["sql"] for query in captured.captured_queries if "UNION ALL" in query["sql"]]
    assert any(sql.startswith("SET LOCAL jit = off;") for sql in long)
    with connection.cursor() as cursor:
        cursor.execute("SHOW jit")
        assert cursor.fetchone() == ("on",)


def test_look_of_the_dashboard_seeks_the_oldest_jobs_of_ready_queues_only() -> None:
    # Without the order of an index a database may read all jobs for a hundred of one status.
    jobs.add.delay(1)
    with CaptureQueriesContext(connection) as captured:
        snapshot.look("default")
    (long,) = (query["sql"] for query in captured.captured_queries if "LIMIT 100)" in query["sql"])
    assert long.count("LIMIT 100)") == 1


def test_dialect_of_django_s_proxy_speaks_over_the_connection_of_this_thread() -> None:
    there = connections["default"]
    vars(there).pop("_django_jobs_dialect", None)
    assert dialect_for(connection).connection is there
