"""Jobs become ready when their time has come, by the database's clock."""

from __future__ import annotations

import pytest
from django.db import connection

from django_jobs.db import clock
from django_jobs.maintenance import promote
from django_jobs.models import Job
from django_jobs.status import TIMED, Status

pytestmark = pytest.mark.django_db


def timed(number: int, seconds: float, status: str) -> None:
    Job.objects.bulk_create(
        Job(
            name="n",
            queue="default",
            status=status,
            enqueued_at=clock("default"),
            run_at=clock("default", seconds),
        )
        for _ in range(number)
    )


def test_what_is_due_becomes_pending_and_the_rest_stays() -> None:
    for status in TIMED:
        timed(2, -1, status)
        timed(3, 60, status)
    pause = promote.run_once("default", longest_pause=600)
    ready = Job.objects.filter(status=Status.PENDING)
    assert ready.count() == 4
    assert all(job.ready_at is not None for job in ready)
    assert Job.objects.timed().count() == 6
    assert 50 < pause <= 60


def test_next_time_counts_whichever_status_has_it() -> None:
    timed(1, 60, Status.SCHEDULED)
    timed(1, 20, Status.RETRY)
    assert 10 < promote.run_once("default", longest_pause=600) <= 20


@pytest.mark.django_db(transaction=True)
def test_what_another_transaction_has_locked_is_looked_at_again_after_a_pause(
    vendor: str,
) -> None:
    if vendor == "sqlite":
        pytest.skip("SQLite locks the file")
    timed(1, -1, Status.SCHEDULED)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT id FROM django_jobs_job FOR UPDATE")
        assert promote.run_once("default") > 0
    finally:
        other.close()


def test_one_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promote, "BATCH", 5)
    timed(4, -2, Status.SCHEDULED)
    timed(4, -1, Status.RETRY)
    assert promote.run_once("default") == 0.0
    assert Job.objects.filter(status=Status.PENDING).count() == 5
    promote.run_once("default")
    assert Job.objects.filter(status=Status.PENDING).count() == 8


# MariaDB's ANALYZE commits.
@pytest.mark.django_db(transaction=True)
def test_neither_query_sorts_the_waiting_jobs() -> None:
    timed(1_000, 3_600, Status.SCHEDULED)
    timed(1_000, 3_600, Status.RETRY)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}django_jobs_job")
    for jobs in promote._timed("default"):
        plan = jobs.order_by("run_at").values_list("id", "queue")[:10].explain().lower()
        assert "django_jobs_due" in plan, plan
        assert not any(word in plan for word in ("sort", "temp b-tree")), plan
