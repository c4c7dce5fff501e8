"""delay() goes past Django's cursors on PostgreSQL, and writes what they write."""

from __future__ import annotations

import asyncio
import datetime
import math
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, IntegrityError, connection, connections
from django.db.backends import utils
from django.test.utils import CaptureQueriesContext, override_settings
from psycopg.pq import Trace, TransactionStatus

from django_jobs import AsyncResult, QueueFull, send_event
from django_jobs.db import dialect_for, direct
from django_jobs.db import prepared as prepared_statements
from django_jobs.db.past_cursors import UNPREPARED, is_open_to
from django_jobs.enqueue.notify import queue_of
from django_jobs.models import Event, Job
from django_jobs.testing import override_jobs
from tests import jobs

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=7)
TEXT = "a'b\\c\"d%s$1 äöü 名"

CALLS: dict[str, Callable[[], AsyncResult[Any]]] = {
    "plain": lambda: jobs.echo.delay(TEXT, key=TEXT),
    "no arguments": lambda: jobs.echo.delay(None),
    "queue and priority": lambda: jobs.add.apply_async((1,), queue="a'\\%s", priority=-7),
    "countdown": lambda: jobs.add.apply_async((1,), countdown=0.25),
    "eta": lambda: jobs.add.apply_async((1,), eta=NOW),
    "expires in seconds": lambda: jobs.add.apply_async((1,), expires=30.5),
    "expires at a moment": lambda: jobs.add.apply_async((1,), expires=NOW, countdown=3),
    "headers": lambda: jobs.add.apply_async((1,), headers={"a": TEXT}),
    "options": lambda: jobs.add.apply_async((1,), max_retries=3, time_limit=1.5),
}


@pytest.fixture(autouse=True, params=["alone", "in a loop"])
def session(vendor: str, request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Begin with a new session of the server, which has prepared nothing.

    All calls of a test count as calls of the same kind.
    """
    if vendor != "postgresql":
        pytest.skip("the other databases have Django's cursors only")
    monkeypatch.setattr(direct, "_ALONE", {"alone": -1.0, "in a loop": math.inf}[request.param])
    connection.close()
    yield request.param
    connection.close()
    direct._CANNOT_FLUSH.clear()


def prepare() -> None:
    """Call so often that the session has prepared the statements of a plain call."""
    for number in range(UNPREPARED + 1):
        jobs.add.delay(number)
    assert prepared()


def prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements ORDER BY name")
        return [name for (name,) in cursor.fetchall()]


def sent(run: Callable[[], object], folder: Path) -> list[str]:
    """Return the names of the protocol's messages that *run* sends."""
    connection.ensure_connection()
    pgconn: Any = connection.connection.pgconn
    with (folder / "trace").open("w+b") as trace:
        pgconn.trace(trace.fileno())
        pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS | Trace.REGRESS_MODE)
        try:
            run()
        finally:
            pgconn.untrace()
        trace.seek(0)
        lines = [line.decode().split("\t") for line in trace]
    return [line[2].strip() for line in lines if line[0] == "F"]


# --- the messages -------------------------------------------------------------------------------


STATEMENTS = {"alone": 5, "in a loop": 4}


def test_call_is_one_round_trip(session: str, tmp_path: Path) -> None:
    messages = sent(lambda: jobs.add.delay(1), tmp_path)
    assert messages == ["Parse", "Bind", "Describe", "Execute"] * STATEMENTS[session] + ["Sync"]


def test_session_that_makes_many_calls_parses_no_more(session: str, tmp_path: Path) -> None:
    prepare()
    messages = sent(lambda: jobs.add.delay(1), tmp_path)
    assert messages == ["Bind", "Describe", "Execute"] * STATEMENTS[session] + ["Sync"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[bytes]]:
    """The statements of each round trip."""
    ran: list[list[bytes]] = []
    run = direct._run

    def note(raw: Any, messages: Any, *others: Any, **named: Any) -> Any:
        ran.append([statement for statement, _values in messages])
        return run(raw, messages, *others, **named)

    monkeypatch.setattr(direct, "_run", note)
    return ran


def test_only_a_call_that_stands_alone_tells_before_the_disk_has_the_job(
    session: str, ran: list[list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(direct, "monotonic", lambda: now)
    monkeypatch.setattr(direct, "_ALONE", 0.005)
    for seconds in (0.0, 0.004, 0.006):
        now += seconds
        jobs.add.delay(1)
    assert [direct._FLUSH in statements for statements in ran] == [True, False, True]
    assert ran[0] == [b"BEGIN", ran[0][1], ran[0][2], b"COMMIT", direct._FLUSH]
    assert b"'synchronous_commit', 'off', TRUE" in ran[0][2]


@pytest.mark.parametrize("calls", [1, UNPREPARED + 2])
def test_job_is_written_where_the_notification_is_refused(
    calls: int, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = b"SELECT 1 / length(left($1, 0))"
    for name in ("_NOTIFY_EARLY", "_NUMBERED_NOTIFY"):
        monkeypatch.setattr(f"django_jobs.db.postgresql_session.{name}", refused)
    for number in range(calls):
        jobs.add.delay(number)
    assert Job.objects.count() == calls


@pytest.mark.parametrize("calls", [0, UNPREPARED + 2])
def test_job_that_cannot_be_flushed_is_written_once_more(
    calls: int, session: str, ran: list[list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(calls):
        jobs.add.delay(number)
    ran.clear()
    monkeypatch.setattr(direct, "_FLUSH", b"SELECT 1 / (random() * 0)::int")
    jobs.add.delay(1)
    jobs.add.delay(2)
    assert list(map(len, ran)) == ([5, 3, 4] if session == "alone" else [4, 4])
    assert any(b"SET id = id" in text for each in ran for text in each) == (session == "alone")
    assert Job.objects.count() == calls + 2


def test_job_that_may_not_be_on_disk_is_an_error_that_says_so(
    session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if session != "alone":
        pytest.skip("the commit itself waits for the disk")
    monkeypatch.setattr(direct, "_FLUSH", b"SELECT 1 / (random() * 0)::int")
    dialect: Any = dialect_for(connection)
    failing = dialect._of_one._replace(touch=b"SELECT 1 / length(left($1, 0))")
    monkeypatch.setattr(dialect, "_of_one", failing)
    with pytest.raises(DatabaseError, match="did not confirm that it is on disk"):
        jobs.add.delay(1)
    assert Job.objects.count() == 1


def test_few_calls_prepare_nothing() -> None:
    for number in range(UNPREPARED):
        jobs.add.delay(number)
    assert prepared() == []


def test_each_new_session_prepares_for_itself(tmp_path: Path) -> None:
    prepare()
    connection.close()
    assert "Parse" in sent(lambda: jobs.add.delay(1), tmp_path)
    prepare()
    assert Job.objects.count() == 2 * (UNPREPARED + 1) + 1


def test_call_in_a_thread_has_the_threads_own_session() -> None:
    prepare()
    problems: list[BaseException] = []

    def call() -> None:
        try:
            prepare()
        except BaseException as error:
            problems.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert problems == []


@pytest.mark.parametrize("times", [1, UNPREPARED + 1])
def test_listener_hears_of_each_queue_by_its_name(times: int) -> None:
    queues = ["mail", "a'b\\c", "$1 %s", "名", "a b"]
    listener = connections.create_connection("default")
    try:
        with listener.cursor() as cursor:
            cursor.execute("LISTEN django_jobs")
        for queue in queues * times:
            jobs.add.apply_async((1,), queue=queue)
        raw: Any = listener.connection
        heard = raw.notifies(timeout=60, stop_after=len(queues) * times)
        assert [queue_of(note.payload) for note in heard] == queues * times
    finally:
        listener.close()


# --- the rows -----------------------------------------------------------------------------------


def columns(result: AsyncResult[Any]) -> dict[str, Any]:
    """Return the job's columns; other times than the call's are told from the enqueue on."""
    row = Job.objects.values().get(pk=result.id)
    began = row.pop("enqueued_at")
    del row["id"]
    times = {name: row[name] for name in ("ready_at", "run_at", "expires_at")}
    return {**row, **{name: at and at != NOW and at - began for name, at in times.items()}}


def pass_on(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    return execute(sql, params, many, context)


@pytest.mark.parametrize("times", [1, UNPREPARED + 1])
@pytest.mark.parametrize("name", CALLS)
def test_row_is_that_of_a_cursor(name: str, times: int, tmp_path: Path) -> None:
    with connection.execute_wrapper(pass_on):
        expected = columns(CALLS[name]())
    results: list[AsyncResult[Any]] = []
    for _ in range(times):
        assert "Query" not in sent(lambda: results.append(CALLS[name]()), tmp_path)
    assert [columns(result) for result in results] == [expected] * times
    assert bool(prepared()) == (times > UNPREPARED)


def test_column_that_a_migration_adds_has_its_default() -> None:
    prepare()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_jobs_job ADD COLUMN added int NOT NULL DEFAULT 7")
    try:
        result = jobs.add.delay(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT added FROM django_jobs_job WHERE id = %s", [result.uuid])
            assert cursor.fetchone() == (7,)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE django_jobs_job DROP COLUMN added")
    assert jobs.add.delay(2).status == "PENDING"


# --- those who watch ----------------------------------------------------------------------------


def test_log_of_queries_has_the_call() -> None:
    prepare()
    with CaptureQueriesContext(connection) as queries:
        jobs.add.delay(1)
    assert [query["sql"].split("(")[0] for query in queries] == [
        "BEGIN; INSERT INTO django_jobs_job "
    ]


def test_log_of_queries_has_the_call_after_debug_was_set() -> None:
    prepare()
    with override_settings(DEBUG=True):
        connection.queries_log.clear()
        jobs.add.delay(1)
        assert [query["sql"].split("(")[0] for query in connection.queries] == [
            "BEGIN; INSERT INTO django_jobs_job "
        ]


def test_call_in_an_event_loop_is_refused_with_the_session_open() -> None:
    prepare()
    opened = connections["default"]

    async def call() -> None:
        with pytest.raises(SynchronousOnlyOperation):
            is_open_to(opened)

    asyncio.run(call())


def test_call_with_a_session_of_another_thread_is_refused() -> None:
    prepare()
    opened = connections["default"]
    problems: list[BaseException] = []

    def call() -> None:
        try:
            is_open_to(opened)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert [type(problem) for problem in problems] == [DatabaseError]


def test_execute_wrapper_sees_the_call() -> None:
    prepare()
    seen: list[str] = []

    def watch(execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(watch):
        jobs.add.delay(1)
    assert [sql.split("(")[0] for sql in seen] == ["BEGIN; INSERT INTO django_jobs_job "]


def test_tracer_that_patched_the_cursors_sees_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare()
    seen: list[str] = []
    execute = utils.CursorWrapper.execute

    def traced(self: Any, sql: Any, params: Any = None) -> Any:
        seen.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(utils.CursorWrapper, "execute", traced)
    jobs.add.delay(1)
    assert [sql.split("(")[0] for sql in seen] == ["BEGIN; INSERT INTO django_jobs_job "]


def test_cursor_class_of_a_tracer_sees_the_call() -> None:
    prepare()
    raw: Any = connection.connection
    seen: list[Any] = []

    class Traced(raw.cursor_factory):  # type: ignore[misc]
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(query)
            return super().execute(query, *args, **kwargs)

    raw.cursor_factory = Traced
    jobs.add.delay(1)
    assert [sql.split("(")[0] for sql in seen] == ["BEGIN; INSERT INTO django_jobs_job "]


# --- what goes wrong ----------------------------------------------------------------------------


def test_full_queue_takes_no_job() -> None:
    prepare()
    before = Job.objects.count()
    with override_jobs(QUEUES={"default": {"MAX_PENDING": before}}), pytest.raises(QueueFull):
        jobs.add.delay(1)
    assert Job.objects.count() == before


@pytest.mark.parametrize("sql", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_session_that_lost_its_statements_writes_the_job_once(sql: str, tmp_path: Path) -> None:
    prepare()
    before = Job.objects.count()
    with connection.cursor() as cursor:
        cursor.execute(sql)
    assert jobs.add.delay(1).status == "PENDING"
    assert Job.objects.count() == before + 1
    assert "Parse" in sent(lambda: jobs.add.delay(2), tmp_path)
    assert prepared() == []


@pytest.mark.parametrize("calls", [1, UNPREPARED + 2])
def test_refused_row_leaves_a_session_without_transaction(
    calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [jobs.add.delay(number) for number in range(calls)][-1]
    session: Any = connection.connection
    with monkeypatch.context() as patch:
        patch.setattr("django_jobs.enqueue.rows.uuid7", lambda: taken.uuid)
        with pytest.raises(IntegrityError, match="duplicate key") as caught:
            jobs.add.delay(2)
    cause: Any = caught.value.__cause__
    assert (cause.sqlstate, cause.diag.constraint_name) == ("23505", "django_jobs_job_pkey")
    assert session.pgconn.transaction_status == TransactionStatus.IDLE
    assert jobs.add.delay(3).status == "PENDING"
    assert connection.connection is session
    assert Job.objects.count() == calls + 1


def test_interrupted_call_leaves_a_connection_that_works(until: Callable[..., None]) -> None:
    prepare()
    before = Job.objects.count()
    locked = connections.create_connection("default")
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        watcher = connections["default"]
        try:
            with watcher.cursor() as cursor:
                waiting = (
                    "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                    "WHERE NOT l.granted AND d.datname = current_database()"
                )
                until(lambda: cursor.execute(waiting) or cursor.fetchone())
        finally:
            watcher.close()
            signal.pthread_kill(main, signal.SIGINT)

    with locked.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE django_jobs_job IN EXCLUSIVE MODE")
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            jobs.add.delay(1)
    finally:
        thread.join()
        locked.close()
    assert Job.objects.count() == before
    assert jobs.add.delay(2).status == "PENDING"


@pytest.mark.parametrize("call", [lambda: jobs.add.delay(1), lambda: send_event("paid")])
def test_interrupted_preparation_leaves_a_connection_that_works(
    call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the server would be taken for that of the next statement."""

    class Limit(BaseException):
        """A soft time limit that comes at any moment."""

    def interrupt(raw: Any) -> Any:
        raise Limit

    for _ in range(UNPREPARED):
        call()
    session: Any = connection.connection
    with monkeypatch.context() as patch:
        patch.setattr(prepared_statements, "answer", interrupt)
        with pytest.raises(Limit):
            call()
    assert session.closed
    before = Job.objects.count(), Event.objects.count()
    call()
    assert sum(before) + 1 == Job.objects.count() + Event.objects.count()


def test_event_is_sent_after_a_migration_changed_its_key() -> None:
    """The server refuses to run a prepared statement whose result would change its type."""
    for number in range(UNPREPARED + 1):
        send_event(f"before {number}")
    change = "ALTER TABLE django_jobs_event ALTER id TYPE {}"
    with connection.cursor() as cursor:
        cursor.execute(change.format("integer"))
    try:
        send_event("paid")
        assert Event.objects.filter(name="paid").count() == 1
    finally:
        Event.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(change.format("bigint"))
