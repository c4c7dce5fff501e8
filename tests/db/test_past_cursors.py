"""A step's record goes past Django's cursors on PostgreSQL, in the session that the job uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_jobs import job
from django_jobs.api.job import JobFunction
from django_jobs.control import revoke
from django_jobs.db import clock, past_cursors, prepared
from django_jobs.db.attempts import (
    begin_attempt,
    end_attempt,
    unwatch_connections,
    watch_connections,
    watch_this_thread,
)
from django_jobs.db.past_cursors import UNPREPARED
from django_jobs.define.context import JobContext
from django_jobs.models import Job, Step
from django_jobs.run.reassert import reassert
from django_jobs.steps.recorded import Recorded
from django_jobs.steps.rows import RowStore
from django_jobs.values import Failure, Outcome
from tests.db.test_direct import pass_on, sent

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "a'b\\c\"d%s$1 äöü 名"
#: What one step sends when its statement is prepared.
ONE_ROUND_TRIP = ["Bind", "Describe", "Execute", "Sync"]


@pytest.fixture(autouse=True)
def watched(vendor: str) -> Iterator[None]:
    """Watch this thread's session, as a worker does with that of a job."""
    if vendor != "postgresql":
        pytest.skip("the other databases have Django's cursors only")
    connection.close()
    connection.ensure_connection()
    watch_connections()
    watch_this_thread()
    begin_attempt()
    yield
    end_attempt()
    unwatch_connections()
    connection.close()


@pytest.fixture
def run(work: Any) -> Callable[..., Outcome]:
    """Enqueue a call by a cursor, and run one attempt."""

    def run(function: JobFunction[..., Any, Any], *args: Any) -> Outcome:
        with connection.execute_wrapper(pass_on):
            function.delay(*args)
        (outcome,) = work()
        return outcome

    return run


def names() -> list[str]:
    """Return the names under which the session has prepared the record of a step."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%INTO django_jobs_step%'"
        )
        return [name for (name,) in cursor.fetchall()]


@pytest.fixture
def numbered(registered: Any) -> Any:
    """A job of so many steps, which passes a call on to the last one."""

    @job(bind=True)
    def numbered(self: JobContext, steps: int) -> None:
        for number in range(steps - 1):
            self.step(f"step {number}", lambda: None)
        self.step(TEXT, numbered.last)

    numbered.last = lambda: {"a": TEXT}
    return numbered


def test_record_is_one_round_trip(registered: Any, run: Any, tmp_path: Path) -> None:
    messages: list[list[str]] = []

    @job(bind=True)
    def pay(self: JobContext) -> None:
        messages.extend(
            sent(lambda: self.step("charge", lambda: 1), tmp_path) for _ in range(UNPREPARED + 2)
        )

    assert run(pay).status == "SUCCESS"
    unprepared = ["Parse", *ONE_ROUND_TRIP]
    assert messages[:UNPREPARED] == [unprepared] * UNPREPARED
    assert messages[-1] == ONE_ROUND_TRIP


@pytest.mark.parametrize("steps", [1, UNPREPARED + 2])
def test_row_is_that_of_a_cursor(numbered: Any, run: Any, steps: int) -> None:
    with connection.execute_wrapper(pass_on):
        run(numbered, steps)
    assert not names()
    run(numbered, steps)
    assert bool(names()) == (steps > UNPREPARED)
    first, second = (
        list(Step.objects.filter(job=each).values()) for each in Job.objects.order_by("enqueued_at")
    )
    assert len(first) == steps
    for before, after in zip(first, second, strict=True):
        times = [each.pop(name) for each in (before, after) for name in ("began_at", "ended_at")]
        assert times[0] <= times[1] <= times[2] <= times[3]
        for each in (before, after):
            del each["id"], each["job_id"]
        assert before == after


@pytest.mark.parametrize("steps", [1, UNPREPARED + 2])
def test_revoked_job_records_no_step(numbered: Any, work: Any, steps: int) -> None:
    numbered.last = lambda: revoke([Job.objects.get().pk], terminate=True)
    numbered.delay(steps)
    assert work() == []
    assert not Step.objects.filter(key=TEXT).exists()
    assert Step.objects.count() == steps - 1


def test_job_stays_the_workers_until_its_record_is_committed(
    numbered: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes the job between the statement's look at its row and the commit."""
    statements: list[bytes] = []
    change = past_cursors.change

    def note(connection: Any, statement: bytes, values: Any) -> int:
        statements.append(statement)
        return change(connection, statement, values)

    monkeypatch.setattr(past_cursors, "change", note)
    run(numbered, 1)
    assert [each.rsplit(b" ", 2)[1:] for each in statements] == [[b"FOR", b"SHARE"]]


def test_statements_are_planned_anew(
    numbered: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(prepared, "monotonic", lambda: now)
    run(numbered, UNPREPARED + 2)
    (first,) = names()
    now += past_cursors._PLANS_LAST / 2
    run(numbered, 1)
    assert names() == [first]
    now += past_cursors._PLANS_LAST
    run(numbered, 1)
    (second,) = names()
    assert second != first
    assert Step.objects.count() == UNPREPARED + 4


@pytest.mark.parametrize("seconds", [0, 2 * past_cursors._PLANS_LAST])
def test_session_that_lost_its_statements_records(
    numbered: Any, run: Any, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    now = 1000.0
    monkeypatch.setattr(prepared, "monotonic", lambda: now)
    run(numbered, UNPREPARED + 2)
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    now += seconds
    run(numbered, 2)
    assert Step.objects.count() == UNPREPARED + 4


class Limit(BaseException):
    """A soft time limit that comes at any moment."""


def test_interrupted_record_leaves_a_session_that_works(
    registered: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the statement would be taken for that of the next one."""
    counted: list[int] = []

    def interrupt(raw: Any) -> Any:
        raise Limit

    @job(bind=True)
    def pay(self: JobContext) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(prepared, "answer", interrupt)
            with pytest.raises(Limit):
                self.step("charge", lambda: 1)
        counted.append(Job.objects.count())
        self.step("ship", lambda: 2)

    assert run(pay).status == "SUCCESS"
    assert counted == [1]
    assert Step.objects.filter(key="ship").exists()


@pytest.mark.parametrize("runs", [1, UNPREPARED + 1])
def test_later_run_reads_what_a_cursor_reads(
    registered: Any, take: Any, worker: Any, runs: int
) -> None:
    @job(bind=True)
    def pay(self: JobContext) -> None: ...

    pay.delay()
    (claimed,) = take()
    store = RowStore(lambda: worker.pk, "default", reassert)
    for number, result in enumerate([None, 7, TEXT, {TEXT: [1.5]}]):
        step = Recorded(f"{TEXT} {number}", number, "call", TEXT, data={"a": TEXT})
        step.done(result)
        store.record(claimed, step)
    failed = Recorded("failed", 9, "call", "f")
    failed.failed(Failure("builtins.ValueError", TEXT, TEXT), "RETRY")
    store.record(claimed, failed)
    Step.objects.filter(position__gte=3).update(wake_at=clock("default", -1))
    Step.objects.filter(position=2).update(wake_at=clock("default", 60))
    claimed.claims = 2
    with connection.execute_wrapper(pass_on):
        expected = store.load(claimed)
    assert [each.is_due for each in expected] == [False, False, False, True, True]
    for _ in range(runs):
        assert store.load(claimed) == expected


def test_execute_wrapper_sees_the_record(numbered: Any, run: Any) -> None:
    seen: list[str] = []

    def watch(execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(watch):
        run(numbered, 1)
    assert len([sql for sql in seen if "INSERT INTO django_jobs_step" in sql]) == 1


def test_enqueue_in_a_job_is_one_round_trip(numbered: Any, tmp_path: Path) -> None:
    assert "Query" not in sent(lambda: numbered.delay(1), tmp_path)
