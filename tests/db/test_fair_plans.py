"""A claim of a fair queue reads about as many rows as it takes, whatever the number of keys."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import connection, transaction

from django_jobs.models import Worker
from django_jobs.run.claim import claim
from tests import jobs
from tests.db.test_plans import BATCH, analyze, explain, nodes, reading, statements

pytestmark = pytest.mark.django_db(transaction=True)

# Of the walk over the keys, of their first jobs, and of the jobs that are claimed; the walk may
# meet its end and begin anew.
MOST_ROWS = 4 * BATCH + 4


@pytest.fixture(params=["fresh", "stale"])
def statistics(request: pytest.FixtureRequest) -> str:
    """Stale statistics say that the table is nearly empty."""
    return str(request.param)


@pytest.mark.parametrize(("keys", "each"), [(1, 3_000), (10, 300), (1_500, 2)])
@pytest.mark.parametrize("queues", [["imports"], ["imports", "plain"]])
def test_claim_reads_a_batch(
    settings: Any, worker: Worker, vendor: str, statistics: str, keys: int, each: int,
    queues: list[str],
) -> None:  # fmt: skip
    settings.DJANGO_JOBS = {"QUEUES": {"imports": {"FAIR_BY": "tenant"}}}
    calls = [(number % keys, number) for number in range(keys * each)]
    if statistics == "stale":
        analyze()
    jobs.of_tenant.delay_many(calls, queue="imports")
    jobs.of_tenant.delay_many(calls, queue="plain")
    if statistics == "fresh":
        analyze()
    with transaction.atomic():
        # The plan of an UPDATE and of a locking read is of jobs that are ready.
        sql = reading(statements(lambda: claim(worker.pk, queues, BATCH, "default")))
        transaction.set_rollback(True)
    assert sql
    if vendor == "sqlite":
        for one in sql:
            check_sqlite(one)
        return
    read = {"postgresql": read_by_postgresql, "mysql": read_by_mysql}[vendor]
    total = sum(map(read, sql))
    assert BATCH <= total <= MOST_ROWS + (BATCH + 1) * (len(queues) - 1)


def read_by_postgresql(sql: str) -> float:
    ((plan,),) = explain("EXPLAIN (ANALYZE, FORMAT JSON)", sql)
    total = 0.0
    for node in nodes(json.loads(plan) if isinstance(plan, str) else plan):
        if node.get("Relation Name") != "django_jobs_job" or "Index Name" not in node:
            assert node.get("Relation Name") != "django_jobs_job" or "Scan" not in node["Node Type"]
            continue
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        total += rows * node["Actual Loops"]
    return total


def read_by_mysql(sql: str) -> float:
    if not sql.startswith(("SELECT", "(SELECT")):
        return 0.0
    ((plan,),) = explain("ANALYZE FORMAT=JSON", sql)
    total = 0.0
    for node in nodes(json.loads(plan)):
        if node.get("table_name") in ("django_jobs_job", "j"):
            assert node["key"] in ("django_jobs_fair", "django_jobs_claim", "PRIMARY")
            total += (node.get("r_rows") or 0) * (node.get("r_loops") or 0)
    return total


def check_sqlite(sql: str) -> None:
    plan = explain("EXPLAIN QUERY PLAN", sql)
    details = [row[-1] for row in plan]
    assert not [line for line in details if line.startswith("SCAN django_jobs_job")]
    for _, parent, _, detail in plan:
        if re.match(r"SEARCH (django_jobs_job|j)\b", detail) and "autoindex" not in detail:
            assert re.search(r"INDEX django_jobs_(fair|claim) \(queue=\?", detail)
            beside = [row[-1] for row in plan if row[1] == parent]
            assert not [line for line in beside if "TEMP B-TREE" in line]


def test_keys_are_read_from_the_index_of_fair_jobs(settings: Any, worker: Worker) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"imports": {"FAIR_BY": "tenant"}}}
    jobs.of_tenant.delay_many([(1,), (2,)], queue="imports")
    sql = reading(statements(lambda: claim(worker.pk, ["imports"], BATCH, "default")))
    prefix = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN (ANALYZE)"}
    plan = explain(prefix.get(connection.vendor, "EXPLAIN"), sql[0])
    assert any("django_jobs_fair" in str(row) for row in plan)
