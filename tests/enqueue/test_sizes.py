"""What one statement cannot carry is written with several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection

from django_jobs import job
from django_jobs.db import dialect_for
from django_jobs.failure import MAX_MESSAGE, MAX_TRACEBACK
from django_jobs.ids import uuid7
from django_jobs.models import Attempt, Job, Worker
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.values import Claimed, Failure
from tests import jobs

Take = Callable[..., list[Claimed]]

MEGABYTE = 1_000_000
# MariaDB takes at most 16 MiB in one statement, unless it is told otherwise.
MANY = 20


@pytest.mark.django_db(transaction=True)
def test_results_that_are_more_than_a_statement_carries(
    worker: Worker, take: Take, registered: Any
) -> None:
    @job
    def body(letter: str) -> str:
        return letter * (MEGABYTE // len(letter.encode()))

    body.delay_many([("ä" if number % 2 else "x",) for number in range(MANY)])
    outcomes = [execute(claimed, Environment()) for claimed in take()]
    assert record(worker.pk, outcomes, "default") == outcomes
    assert {len(str(row.result).encode()) for row in Job.objects.all()} == {MEGABYTE}


@pytest.mark.django_db(transaction=True)
def test_failures_that_are_more_than_a_statement_carries(worker: Worker, take: Take) -> None:
    jobs.fail.delay_many([()] * 1_000)
    outcomes = [execute(claimed, Environment()) for claimed in take(1_000)]
    for outcome in outcomes:
        outcome.failure = Failure(
            "builtins.ValueError", "ü" * MAX_MESSAGE, traceback="ü" * MAX_TRACEBACK
        )
    assert record(worker.pk, outcomes, "default") == outcomes
    assert Attempt.objects.filter(traceback="ü" * MAX_TRACEBACK).count() == 1_000


@pytest.mark.django_db(transaction=True)
def test_arguments_that_are_more_than_a_statement_carries(settings: Any) -> None:
    settings.DJANGO_JOBS = {"MAX_PAYLOAD_BYTES": 2 * MEGABYTE}
    jobs.add.delay_many([("x" * MEGABYTE,)] * MANY)
    assert Job.objects.count() == MANY


@pytest.mark.django_db(transaction=True)
def test_arguments_that_fail_midway_write_none(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_JOBS = {"MAX_PAYLOAD_BYTES": 2 * MEGABYTE}
    there = jobs.add.delay(1)
    ids = [uuid7() for _ in range(5)] + [there.id]
    monkeypatch.setattr("django_jobs.enqueue.rows.uuids7", lambda _number: ids)
    with pytest.raises(IntegrityError):
        jobs.add.delay_many([("x" * MEGABYTE,)] * 6)
    assert Job.objects.get().pk == there.id


@pytest.mark.django_db(transaction=True)
def test_call_that_fails_midway_writes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    there = jobs.add.delay(1)
    ids = [uuid7(), there.id]
    monkeypatch.setattr("django_jobs.enqueue.rows.uuids7", lambda _number: ids)
    with pytest.raises(IntegrityError):
        jobs.add.delay_many([(1,), (2,)])
    assert Job.objects.get().pk == there.id


@pytest.mark.django_db(transaction=True)
def test_results_cut_off_between_two_statements_are_recorded_again(
    worker: Worker, take: Take, registered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @job
    def body() -> str:
        return "x" * MEGABYTE

    body.delay_many([()] * 4)
    outcomes = [execute(claimed, Environment()) for claimed in take()]
    dialect = dialect_for(connection)
    write, seen = dialect._write_outcomes, []

    def failing(cursor: Any, worker_id: Any, piece: Any) -> int:
        seen.append(piece)
        if len(seen) == 2:
            raise OperationalError("cut")
        return write(cursor, worker_id, piece)

    monkeypatch.setattr(dialect, "_write_outcomes", failing)
    with pytest.raises(OperationalError, match="cut"):
        record(worker.pk, outcomes, "default")
    assert 0 < Job.objects.filter(status="SUCCESS").count() < 4
    assert record(worker.pk, outcomes, "default") == outcomes
    assert Job.objects.filter(status="SUCCESS").count() == 4
