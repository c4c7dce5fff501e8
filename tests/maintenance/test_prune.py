"""Old jobs are deleted in batches that follow how long the database takes."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_jobs.db import clock, dialect_for
from django_jobs.maintenance import prune
from django_jobs.maintenance.prune import BATCH, MOST, Pruner
from django_jobs.models import Attempt, AttemptLog, Edge, Job, Lease, UniqueKey
from django_jobs.status import Status
from tests.races import held

pytestmark = pytest.mark.django_db

MakePruner = Callable[[float], Pruner]


def old(number: int, seconds: float = -60) -> list[Job]:
    """Write ended jobs whose time is over, each with an attempt and an edge."""
    jobs = Job.objects.bulk_create(
        Job(
            name="n", status=Status.SUCCESS, enqueued_at=clock("default"),
            prune_at=clock("default", seconds + each / 1000),
        )
        for each in range(number)
    )  # fmt: skip
    Attempt.objects.bulk_create(
        Attempt(job_id=job.pk, attempt=1, ended_at=clock("default")) for job in jobs
    )
    Edge.objects.bulk_create(
        Edge(parent_id=job.pk, child_id=jobs[0].pk, kind="result") for job in jobs[1:]
    )
    return jobs


@pytest.fixture
def pruner(monkeypatch: pytest.MonkeyPatch) -> MakePruner:
    """Make a pruner that begins with two jobs, and whose batches take so many seconds."""
    monkeypatch.setattr(prune, "BATCH", 2)

    def make(seconds: float) -> Pruner:
        times = itertools.count(0.0, seconds)
        return Pruner("default", uuid.uuid4(), clock=lambda: next(times))

    return make


def test_batches_grow_while_they_are_quick(pruner: MakePruner) -> None:
    old(13)
    quick = pruner(0.001)
    left = []
    while quick.run_once() is not None:
        left.append((Job.objects.count(), quick.batch))
    assert left == [(11, 4), (7, 8)]
    assert (Job.objects.count(), Attempt.objects.count(), Edge.objects.count()) == (0, 0, 0)


def test_batch_becomes_as_big_as_fits_into_its_time(pruner: MakePruner) -> None:
    longest = 0.02
    old(20)
    quick = pruner(longest * 0.8)
    quick.batch = 10
    assert quick.run_once() == pytest.approx(2 * longest * 0.8)
    assert quick.batch == 12


def test_batch_that_was_slow_is_followed_by_a_smaller_one_and_a_rest(pruner: MakePruner) -> None:
    old(20)
    slow = pruner(10.0)
    slow.batch = 9
    assert slow.run_once() == 0.1
    assert slow.batch == 2


def test_batches_stay_within_their_bounds() -> None:
    quick = Pruner("default", uuid.uuid4())
    assert quick._fitting(MOST, 0.0) == MOST
    assert quick._fitting(BATCH, 60.0) == BATCH


def test_batch_begins_where_the_last_one_ended(pruner: MakePruner) -> None:
    jobs = old(6)
    quick = pruner(0.001)
    with CaptureQueriesContext(connection) as first:
        assert quick.run_once() is not None
    with CaptureQueriesContext(connection) as second:
        assert quick.run_once() is not None
    from_a_place = [
        any("prune_at >=" in each["sql"] for each in queries) for queries in (first, second)
    ]
    assert from_a_place == [False, True]
    assert not Job.objects.exists()
    # The next round finds the jobs before the place of a finished one.
    assert quick.run_once() is None
    jobs = old(1, seconds=-3600)
    assert quick.run_once() is None
    assert not Job.objects.filter(pk=jobs[0].pk).exists()


def test_jobs_whose_time_comes_stay(pruner: MakePruner) -> None:
    old(3, seconds=60)
    assert pruner(0.001).run_once() is None
    assert Job.objects.count() == 3


def test_one_process_prunes(pruner: MakePruner) -> None:
    old(6)
    assert pruner(0.001).run_once() is not None
    assert pruner(0.001).run_once() is None
    assert Job.objects.count() == 4
    Lease.objects.update(until=clock("default", -1))
    assert pruner(0.001).run_once() is not None


def test_lease_is_renewed_in_time_and_not_at_each_batch(pruner: MakePruner) -> None:
    old(40)
    slow = pruner(10.0)
    until = []
    for _batch in range(4):
        # Each batch reads the clock twice.
        assert slow.run_once() is not None
        until.append(Lease.objects.get(name="prune").until)
    assert until[0] == until[1] < until[2] == until[3]


def test_unique_keys_and_logs_go_with_their_jobs(pruner: MakePruner) -> None:
    gone, kept = old(1)[0], old(1, seconds=60)[0]
    for job in (gone, kept):
        Job.objects.filter(pk=job.pk).update(unique_key=job.pk.hex)
        UniqueKey.objects.create(key=job.pk.hex, job_id=job.pk)
        AttemptLog.objects.create(job_id=job.pk, attempt=1, claims=1, status="SUCCESS")
    full = pruner(0.001)
    full.batch = 1  # after the last batch it would look for keys without jobs
    assert full.run_once() is not None
    assert [each.pk for each in Job.objects.all()] == [kept.pk]
    for model in (UniqueKey, AttemptLog, Attempt):
        assert list(model._default_manager.values_list("job_id", flat=True)) == [kept.pk]


@pytest.mark.django_db(transaction=True)
def test_locked_jobs_are_left(pruner: MakePruner, vendor: str) -> None:
    if vendor == "sqlite":
        pytest.skip("SQLite locks the file, and no row")
    jobs = old(3)
    with held(lambda: list(Job.objects.select_for_update().filter(pk=jobs[0].pk))):
        quick = pruner(0.001)
        assert quick.run_once() is not None
        assert [each.pk for each in Job.objects.all()] == [jobs[0].pk]
    assert pruner(0.001).run_once() is None


def test_batch_does_not_read_the_other_jobs(vendor: str) -> None:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL hashes a correlated subquery")
    old(3_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_jobs_job, django_jobs_edge")
        query, params = dialect_for(connection)._over(10, None)
        cursor.execute(f"EXPLAIN {query}", params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan using django_jobs_prune" in plan
    assert "hashed" not in plan
    assert "Seq Scan on django_jobs_job" not in plan


def test_statements_of_a_batch(pruner: MakePruner, vendor: str) -> None:
    old(6)
    quick = pruner(0.001)
    quick.run_once()
    with CaptureQueriesContext(connection) as queries:
        quick.run_once()
    # A savepoint, what is over, whether there are steps and the like, one deletion or one for each
    # table, the savepoint.
    assert len(queries) == {"postgresql": 3, "mysql": 7, "sqlite": 11}[vendor]
    if vendor == "postgresql":
        # From a batch of about 2,200 jobs on, the server would compile it in 70 ms.
        assert "jit = off" in queries[1]["sql"]
