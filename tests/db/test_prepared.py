"""A worker's own session of PostgreSQL prepares its claims and records, and plans them once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobs.db import dialect_for, own_connection
from django_jobs.db.claim_cursor import ClaimCursor
from django_jobs.db.postgresql_text import array
from django_jobs.models import Job, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.status import Status
from django_jobs.values import Claimed, Outcome
from tests import jobs
from tests.db.test_plans import BACKLOG, BATCH, nodes
from tests.proxy import Proxy, through

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "a'b\\c\"d%s$1 {NULL} äöü 名"
QUEUES = [["default"], ["default", "mail"]]


@pytest.fixture(autouse=True)
def own(vendor: str) -> Iterator[BaseDatabaseWrapper]:
    if vendor != "postgresql":
        pytest.skip("the other databases have Django's cursors only")
    kept = connections["default"]
    own = own_connection("default")
    own.ensure_connection()
    # No claim is slow, so each claim of a queue is the same statement.
    dialect_for(own).claim_cursor = ClaimCursor(slow_seconds=3_600.0)  # type: ignore[attr-defined]
    yield own
    own.close()
    connections["default"] = kept


def sql(text: str) -> list[Any]:
    with connections["default"].cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall() if cursor.description else []


def prepared() -> dict[str, str]:
    """The statements of the worker's session by their names."""
    return dict(sql("SELECT name, statement FROM pg_prepared_statements"))


def pass_on(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    return execute(sql, params, many, context)


def run_one(worker: Worker) -> Outcome:
    (claimed,), _contended = claim(worker.pk, ["default"], 1, "default")
    outcome = execute(claimed, Environment())
    assert record(worker.pk, [outcome], "default") == [outcome]
    return outcome


def test_session_prepares_each_statement_once(worker: Worker) -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    run_one(worker)
    first = prepared()
    assert len(first) == 2
    run_one(worker)
    run_one(worker)
    assert prepared() == first
    assert Job.objects.filter(status="SUCCESS").count() == 3


def test_other_connections_of_the_process_prepare_nothing(worker: Worker) -> None:
    connections["default"] = connection
    connections["default"] = other = connections.create_connection("default")
    jobs.add.delay(1)
    run_one(worker)
    assert prepared() == {}
    assert sql("SHOW enable_seqscan") == [("on",)]
    other.close()


def test_who_watches_the_connection_sees_the_statements(
    worker: Worker, own: BaseDatabaseWrapper
) -> None:
    seen: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    jobs.add.delay(1)
    with own.execute_wrapper(watch):
        run_one(worker)
    assert [each for each in seen if "SET status = 'STARTED'" in each]
    assert [each for each in seen if "SET status = 'SUCCESS'" in each]


@pytest.mark.parametrize("queues", QUEUES)
def test_claimed_job_is_that_of_a_cursor(
    worker: Worker, own: BaseDatabaseWrapper, queues: list[str]
) -> None:
    calls: dict[str, Any] = {
        "headers": {"a": TEXT}, "expires": 300, "countdown": 0, "max_retries": 2, "priority": -3
    }  # fmt: skip
    for _ in range(2):
        jobs.echo.apply_async((TEXT,), **calls)
    Job.objects.update(status="PENDING", run_at=worker.started_at)

    def fields(jobs: list[Claimed]) -> dict[str, Any]:
        (claimed,) = jobs
        names = set(Claimed.__slots__) - {"id", "ready", "expires_at", "headers"}
        return {name: getattr(claimed, name) for name in names} | {
            "expires": type(claimed.expires_at), "headers": json.loads(claimed.headers or "")["a"]
        }  # fmt: skip

    with own.execute_wrapper(pass_on):
        expected = fields(claim(worker.pk, queues, 1, "default")[0])
    assert fields(claim(worker.pk, queues, 1, "default")[0]) == expected


@pytest.mark.parametrize("function", [jobs.echo, jobs.fail])
@pytest.mark.parametrize("text", [TEXT, "NULL", ""])
def test_recorded_row_is_that_of_a_cursor(
    worker: Worker, own: BaseDatabaseWrapper, function: Any, text: str
) -> None:
    function.delay_many([(text,), (text,)])
    with own.execute_wrapper(pass_on):
        run_one(worker)
    run_one(worker)
    times = {"id", "enqueued_at", "ready_at", "started_at", "ended_at", "prune_at"}
    first, second = Job.objects.values()
    assert {name for name in first if first[name] != second[name]} <= times
    for name in times:
        assert type(first[name]) is type(second[name])


# --- sessions that cannot -----------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_session_that_forgot_its_statements_prepares_no_more(
    worker: Worker, statement: str
) -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    run_one(worker)
    sql(statement)
    run_one(worker)
    run_one(worker)
    assert prepared() == {}
    assert Job.objects.filter(status="SUCCESS").count() == 3


def test_migration_that_changes_a_type_stops_no_worker(worker: Worker) -> None:
    jobs.add.delay_many([(1,), (2,)])
    run_one(worker)
    sql("ALTER TABLE django_jobs_job ALTER crashes TYPE bigint")
    try:
        run_one(worker)
    finally:
        sql("ALTER TABLE django_jobs_job ALTER crashes TYPE smallint")


def test_session_behind_a_pooler_prepares_nothing_and_claims_synchronously(worker: Worker) -> None:
    proxy = Proxy(as_pooler=True)
    try:
        with through(proxy):
            jobs.add.delay(1)
            run_one(worker)
            assert prepared() == {}
            assert sql("SHOW enable_seqscan") == [("on",)]
            assert not dialect_for(connections["default"])._is_own_session  # type: ignore[attr-defined]
    finally:
        proxy.close()


# --- plans --------------------------------------------------------------------------------------


def plan_of(marker: str, *parameters: object) -> list[dict[str, Any]]:
    """Run the prepared statement that begins with *marker*; return its plan; roll it back."""
    (name,) = [name for name, text in prepared().items() if marker in text]
    values = ", ".join("NULL" if each is None else f"'{each}'" for each in parameters)
    sql("BEGIN")
    try:
        ((plan,),) = sql(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({values})")
    finally:
        sql("ROLLBACK")
    return list(nodes(json.loads(plan) if isinstance(plan, str) else plan))


def assert_reads_no_more_than(rows: int, plan: list[dict[str, Any]]) -> None:
    """Each node on the jobs' table reads by an index, and in all no more than *rows*."""
    scans = [node for node in plan if node.get("Relation Name") == "django_jobs_job"]
    scans = [node for node in scans if node["Node Type"] != "ModifyTable"]
    assert scans
    for node in scans:
        assert node["Node Type"] in ("Index Scan", "Index Only Scan")
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        assert read * node["Actual Loops"] <= rows
    assert not [node for node in plan if "JIT" in node]


@pytest.mark.parametrize("batch", [BATCH, 1_000])
@pytest.mark.parametrize("rows", [0, 1])
def test_plans_made_for_a_tiny_table_are_right_for_a_full_one(
    worker: Worker, rows: int, batch: int
) -> None:
    # The statistics stay those of the tiny table, so no plan is made anew.
    sql("ALTER TABLE django_jobs_job SET (autovacuum_enabled = off)")
    jobs.add.delay_many([(1,), (2,)])
    for queues, status in zip(QUEUES, (Status.SUCCESS, Status.RETRY), strict=True):
        (claimed,), _ = claim(worker.pk, queues, 1, "default")
        record(worker.pk, [Outcome.of(claimed, status)], "default")
    Job.objects.exclude(pk__in=Job.objects.values("pk")[:rows]).delete()
    sql("VACUUM ANALYZE django_jobs_job")
    for name, text in prepared().items():
        nulls = ", ".join("NULL" for _ in set(re.findall(r"\$\d+", text)))
        sql(f"EXPLAIN EXECUTE {name} ({nulls})")
    for queue in ("default", "mail", "old"):
        jobs.add.delay_many(((number,) for number in range(BACKLOG)), queue=queue)
    Job.objects.filter(queue="old").update(status="SUCCESS")
    dialect: Any = dialect_for(connections["default"])
    me = worker.pk
    queue, ranges = "default", ("{default,mail}", "{-9,-9}", f"{{{'0' * 32},{'0' * 32}}}", "{9,9}")
    one = plan_of("queue = $5", None, me, me, queue, queue, batch, me)
    assert_reads_no_more_than(batch, one)
    several = plan_of("candidate", None, *ranges, batch, me, batch, me, batch, me)
    assert_reads_no_more_than(2 * batch, several)
    taken, _ = claim(me, ["default"], batch, "default")
    arrays = dialect._success_arrays([Outcome.of(each, Status.SUCCESS) for each in taken])
    assert_reads_no_more_than(batch, plan_of("SET status = 'SUCCESS'", 60, *arrays, me))
    rows_of = [dialect._outcome_row(Outcome.of(each, Status.RETRY)) for each in taken]
    columns = [array(column).replace("'", "''") for column in zip(*rows_of, strict=True)]
    assert_reads_no_more_than(batch, plan_of("SET status = new.status", *columns, me))


def test_session_makes_one_plan_for_each_statement(worker: Worker) -> None:
    jobs.add.delay_many([(1,), (2,)])
    run_one(worker)
    run_one(worker)
    assert sql("SELECT DISTINCT custom_plans FROM pg_prepared_statements") == [(0,)]


def test_other_statements_of_the_session_are_not_compiled(worker: Worker) -> None:
    jobs.add.delay(1)
    run_one(worker)
    # Those that read a whole table look expensive to the planner.
    assert sql("SHOW jit") == [("off",)]


def test_plan_beside_an_open_transaction_begins_where_the_ready_jobs_do(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.add.delay_many((number,) for number in range(BACKLOG))
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT count(*) FROM django_jobs_job")
    dialect: Any = dialect_for(connections["default"])
    monkeypatch.setattr(dialect, "claim_cursor", ClaimCursor(0.0, 0.0, hold_seconds=3_600.0))
    try:
        claim(worker.pk, ["default"], BACKLOG // 2, "default")
        (last,), _ = claim(worker.pk, ["default"], 1, "default")  # it remembers the place
        claim(worker.pk, ["default"], 1, "default")  # it begins there
        ranges = ("{default}", f"{{{last.rank}}}", f"{{{last.id}}}", "{9}")
        plan = plan_of("candidate", None, *ranges, 1, worker.pk, 1, worker.pk, 1, worker.pk)
        assert_reads_no_more_than(2, plan)
    finally:
        other.close()
