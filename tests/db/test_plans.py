"""How the databases read the claim: by its index, in its order, and no row more than it takes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.test.utils import CaptureQueriesContext

from django_jobs.db import dialect_for
from django_jobs.db.claim_cursor import ClaimCursor
from django_jobs.models import Job, Worker
from django_jobs.run.claim import claim, ready_queues
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from tests import jobs

pytestmark = pytest.mark.django_db(transaction=True)

BACKLOG = 3_000
BATCH = 10
QUEUES = [["default"], ["default", "mail", "empty"]]


@pytest.fixture(params=["fresh", "stale"])
def backlog(request: pytest.FixtureRequest) -> None:
    """Many ready jobs of mixed priorities in two queues, and as many that have ended or wait.

    Stale statistics say that no job is ready: they are from before the backlog grew.
    """
    jobs.add.delay_many(((number,) for number in range(BACKLOG)), queue="old")
    Job.objects.filter(queue="old").update(status="SUCCESS")
    # Jobs that sleep or wait for an event would come first.
    for status in ("SCHEDULED", "WAITING"):
        jobs.add.delay_many(
            ((number,) for number in range(BACKLOG // 3)), queue="default", priority=9
        )
        Job.objects.filter(status="PENDING").update(status=status)
    if request.param == "stale":
        analyze()
    for queue in ("default", "mail"):
        for priority in (0, 5, -5):
            jobs.add.delay_many(
                ((number,) for number in range(BACKLOG // 3)), queue=queue, priority=priority
            )
    if request.param == "fresh":
        analyze()


def analyze() -> None:
    statement = {"mysql": "ANALYZE TABLE django_jobs_job", "sqlite": "ANALYZE"}
    with connection.cursor() as cursor:
        cursor.execute(statement.get(connection.vendor, "ANALYZE django_jobs_job"))


def statements(run: Callable[[], Any]) -> list[str]:
    """The SQL that *run* executes, with its parameters in place."""
    with CaptureQueriesContext(connection) as captured:
        run()
    return [query["sql"] for query in captured.captured_queries]


def reading(sql: list[str]) -> list[str]:
    return [one for one in sql if "django_jobs_job" in one]


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a plan in JSON, however it nests them."""
    if isinstance(plan, dict):
        yield plan
        for value in plan.values():
            yield from nodes(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from nodes(value)


def explain(prefix: str, sql: str) -> Any:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"{prefix} {sql}".replace("%", "%%"), [])
        plan = cursor.fetchall()
        transaction.set_rollback(True)
    return plan


@pytest.fixture
def held_snapshot(vendor: str) -> Iterator[None]:
    """A transaction that stays open: no index entry that it may still see is removed."""
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL's claim remembers where the ready jobs begin")
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT count(*) FROM django_jobs_job")
        yield
    other.close()


@pytest.mark.usefixtures("held_snapshot")
def test_claim_beside_an_open_transaction_begins_where_the_ready_jobs_do(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = dialect_for(connection)
    jobs.add.delay_many((number,) for number in range(4 * BACKLOG))
    taken = claim(worker.pk, ["default"], 3 * BACKLOG, "default")[0]
    record(worker.pk, [execute(job, Environment()) for job in taken], "default")

    def buffers(claim_ten: Callable[[], Any]) -> int:
        (sql,) = reading(statements(claim_ten))
        ((plan,),) = explain("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)", sql)
        plan = plan if isinstance(plan, list) else json.loads(plan)
        scans = [one for one in nodes(plan) if one.get("Index Name") == "django_jobs_claim"]
        return sum(one["Shared Hit Blocks"] + one["Shared Read Blocks"] for one in scans)

    def take() -> Any:
        return claim(worker.pk, ["default"], BATCH, "default")

    monkeypatch.setattr(dialect, "claim_cursor", ClaimCursor(0.0, 0.0, hold_seconds=3_600.0))
    walked = buffers(take)  # this one finds the place
    assert buffers(take) < walked / 2


@pytest.mark.usefixtures("backlog")
@pytest.mark.parametrize("queues", QUEUES)
def test_claim_reads_its_index_in_order(worker: Worker, vendor: str, queues: list[str]) -> None:
    with transaction.atomic():
        sql = reading(statements(lambda: claim(worker.pk, queues, BATCH, "default")))
        transaction.set_rollback(True)
    if vendor == "postgresql":
        check_postgresql(*sql)
    elif vendor == "mysql":
        check_mysql([one for one in sql if one.startswith("SELECT")])
    else:
        check_sqlite(*sql)


def check_postgresql(sql: str) -> None:
    ((plan,),) = explain("EXPLAIN (ANALYZE, FORMAT JSON)", sql)
    found = list(nodes(json.loads(plan) if isinstance(plan, str) else plan))
    scans = [node for node in found if node.get("Index Name") == "django_jobs_claim"]
    assert scans
    for scan in scans:
        assert scan["Node Type"] in ("Index Scan", "Index Only Scan")
        assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) <= BATCH
    # What is sorted is at most a batch of each queue, never the backlog.
    for node in found:
        if "Sort" in node.get("Node Type", ""):
            assert node["Actual Rows"] <= BATCH * 3
        if node.get("Relation Name") == "django_jobs_job":
            assert node["Node Type"] != "Seq Scan"


def check_mysql(selects: list[str]) -> None:
    for sql in selects:
        ((plan,),) = explain("ANALYZE FORMAT=JSON", sql)
        for node in nodes(json.loads(plan)):
            table = node.get("table_name")
            if table in ("django_jobs_job", "j"):
                assert node["key"] in ("django_jobs_claim", "PRIMARY")
                assert node["r_rows"] <= BATCH + 1
    # The winners of several queues are sorted, a batch of each; rows of the table are not.
    for sql in selects:
        if "UNION ALL" not in sql:
            ((plan,),) = explain("EXPLAIN FORMAT=JSON", sql)
            assert "filesort" not in plan
        if "UNION ALL" in sql:
            branch = sql[sql.index("(SELECT id") + 1 : sql.index(") UNION ALL")]
            ((plan,),) = explain("EXPLAIN FORMAT=JSON", branch)
            assert "filesort" not in plan


def check_sqlite(sql: str) -> None:
    plan = explain("EXPLAIN QUERY PLAN", sql)
    searches = [row for row in plan if "INDEX django_jobs_claim (queue=?)" in row[-1]]
    assert searches
    for _, parent, _, _ in searches:
        beside = [row[-1] for row in plan if row[1] == parent]
        assert not [line for line in beside if "TEMP B-TREE" in line]
    assert not [row for row in plan if row[-1].startswith("SCAN django_jobs_job")]


@pytest.mark.usefixtures("backlog")
@pytest.mark.parametrize("queues", QUEUES)
def test_claim_locks_no_more_rows_than_it_takes(
    worker: Worker, vendor: str, queues: list[str]
) -> None:
    if vendor == "sqlite":
        return  # It locks the file.
    with transaction.atomic():
        found, _ = claim(worker.pk, queues, BATCH, "default")
        locked = locked_rows(vendor)
    assert len(found) == BATCH
    assert locked <= BATCH + 3


# Locked is what another connection has to pass by, in the table itself and in the claim's index.
LOOKS = {
    "postgresql": ["SELECT id FROM django_jobs_job"],
    "mysql": [
        "SELECT id FROM django_jobs_job FORCE INDEX (PRIMARY)",
        "SELECT id FROM django_jobs_job FORCE INDEX (django_jobs_claim)",
    ],
}


def locked_rows(vendor: str) -> int:
    other = connection.copy("other")
    locked = []
    try:
        for look in LOOKS[vendor]:
            with transaction_of(other) as cursor:
                cursor.execute(f"SELECT count(*) FROM ({look} FOR UPDATE SKIP LOCKED) AS free")
                (free,) = cursor.fetchone()
                cursor.execute("SELECT count(*) FROM django_jobs_job")
                (everything,) = cursor.fetchone()
                locked.append(everything - free)
    finally:
        other.close()
    return max(locked)


@contextlib.contextmanager
def transaction_of(other: BaseDatabaseWrapper) -> Iterator[CursorWrapper]:
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        yield cursor
        cursor.execute("ROLLBACK")


@pytest.mark.usefixtures("backlog")
def test_ready_queues_are_found_without_reading_the_backlog(vendor: str) -> None:
    sql = statements(lambda: ready_queues("default"))
    if vendor == "sqlite":
        # Each step is one search for the least name that is greater.
        plan = [row[-1] for one in sql for row in explain("EXPLAIN QUERY PLAN", one)]
        assert not [line for line in plan if line.startswith("SCAN django_jobs_job")]
        assert [line for line in plan if "django_jobs_claim (queue>?)" in line]
        return
    prefix = "ANALYZE FORMAT=JSON" if vendor == "mysql" else "EXPLAIN (ANALYZE, FORMAT JSON)"
    read = 0.0
    for one in sql:
        ((plan,),) = explain(prefix, one)
        for node in nodes(json.loads(plan) if isinstance(plan, str) else plan):
            read += (node.get("r_rows") or 0) if "table_name" in node else 0
            read += node["Actual Rows"] * node["Actual Loops"] if "Index Name" in node else 0
    assert 0 < read <= 6


@pytest.mark.parametrize("batch", [10, 1_000])
@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_record_finds_each_job_by_its_key(
    worker: Worker, vendor: str, batch: int, statistics: str
) -> None:
    # In a table of a few pages a sequential scan would be right.
    jobs.add.delay_many((number,) for number in range(20_000))
    if statistics == "fresh":
        analyze()
    claimed, _contended = claim(worker.pk, ["default"], batch, "default")
    outcomes = [execute(job, Environment()) for job in claimed]
    with transaction.atomic():
        (sql,) = reading(statements(lambda: record(worker.pk, outcomes, "default")))
        transaction.set_rollback(True)
    if vendor == "sqlite":
        details = [row[-1] for row in explain("EXPLAIN QUERY PLAN", sql)]
        assert details.pop(0).startswith("SCAN json_each")
        assert all("sqlite_autoindex_django_jobs_job_1 (id=?)" in detail for detail in details)
        return
    prefix = "EXPLAIN (FORMAT JSON)" if vendor == "postgresql" else "EXPLAIN FORMAT=JSON"
    ((plan,),) = explain(prefix, sql)
    found = list(nodes(json.loads(plan) if isinstance(plan, str) else plan))
    if vendor == "postgresql":
        (scan,) = [node for node in found if node.get("Alias") == "j" and "Index Name" in node]
        assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "django_jobs_job_pkey")
    else:
        (scan,) = [node for node in found if node.get("table_name") == "j"]
        assert (scan["access_type"], scan["key"]) == ("eq_ref", "PRIMARY")
