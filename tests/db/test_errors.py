"""Real errors of each database, and what they mean."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import Error, InterfaceError, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobs.db import Kind, is_away, kind_of, reconnect, refusing_database, without_deadlock
from django_jobs.models import Queue

pytestmark = pytest.mark.django_db(transaction=True)

Connect = Callable[..., BaseDatabaseWrapper]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make another connection to the database under test, with some settings changed."""
    made: list[BaseDatabaseWrapper] = []

    def connect(**changes: Any) -> BaseDatabaseWrapper:
        other = connections.create_connection("default")
        settings = copy.deepcopy(connections["default"].settings_dict)
        options = {**settings["OPTIONS"], **changes.pop("OPTIONS", {})}
        other.settings_dict = {**settings, **changes, "OPTIONS": options}
        other.inc_thread_sharing()
        reconnect.leave_alone(other)  # the errors of a dead session are what is asked for
        made.append(other)
        return other

    yield connect
    for other in made:
        with suppress(Error):
            other.close()


def run(other: BaseDatabaseWrapper, *statements: str) -> None:
    with other.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def error_of(action: Callable[..., Any], *args: Any) -> Exception:
    with pytest.raises(Error) as caught:
        action(*args)
    return caught.value


WRONG = {
    "postgresql": [
        "SELECT 1 / 0",
        "SELECT no_such_column",
        "SELECT 1 FROM no_such_table",
        "SELEC 1",
        "INSERT INTO django_jobs_queue (name) VALUES ('unfinished')",
        "SELECT '{'::json",
        "SELECT 2147483647 + 1",
        "SELECT 'x'::uuid",
    ],
    "mysql": [
        "SELECT no_such_column",
        "SELECT 1 FROM no_such_table",
        "SELEC 1",
        "INSERT INTO django_jobs_queue (name) VALUES (NULL)",
        "INSERT INTO django_jobs_queue (name) VALUES (REPEAT('x', 9999))",
        "SELECT 9223372036854775807 + 1",
    ],
    "sqlite": [
        "SELECT no_such_column",
        "SELECT 1 FROM no_such_table",
        "SELEC 1",
        "INSERT INTO django_jobs_queue (name) VALUES (NULL)",
        "SELECT json('{')",
    ],
}


def test_statement_that_is_refused_each_time_is_wrong(vendor: str, connect: Connect) -> None:
    other = connect()
    for statement in WRONG[vendor]:
        error = error_of(run, other, statement)
        assert kind_of(error) is Kind.WRONG, (statement, error)
        assert not is_away(error)


def test_value_that_the_driver_refuses_is_wrong(vendor: str) -> None:
    if vendor == "postgresql":
        assert kind_of(error_of(lambda: Queue.objects.create(name="\0"))) is Kind.WRONG


RAISED = {
    # Hard to bring about; the server itself raises what it would raise then.
    "postgresql": {
        "53100": Kind.NOT_READY,  # disk full
        "53200": Kind.NOT_READY,  # out of memory
        "53300": Kind.NOT_READY,  # too many connections
        "57P03": Kind.NOT_READY,  # the server starts
        "58030": Kind.NOT_READY,  # an I/O error
        "57P01": Kind.GONE,  # the server stops
        "08006": Kind.GONE,
        "25P03": Kind.GONE,  # a session idle in its transaction was ended
        "40001": Kind.CONFLICT,
        "42501": Kind.WRONG,  # no permission
        "23505": Kind.WRONG,
    },
    "mysql": {
        "1021": Kind.NOT_READY,  # disk full
        "1041": Kind.NOT_READY,  # out of memory
        "1040": Kind.NOT_READY,  # too many connections
        "1290": Kind.NOT_READY,  # --read-only
        "1047": Kind.GONE,  # a node of a cluster that is not ready
        "1053": Kind.GONE,  # the server stops
        "1213": Kind.CONFLICT,
        "1142": Kind.WRONG,  # no permission
        "1062": Kind.WRONG,
    },
    "sqlite": {},
}


def test_numbers_that_a_server_gives(vendor: str, connect: Connect) -> None:
    for code, kind in RAISED[vendor].items():
        raise_it = f"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END$$"
        if vendor == "mysql":
            raise_it = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = 'x'"
        error = error_of(run, connect(), raise_it)
        assert kind_of(error) is kind, (code, error)


def test_session_that_was_ended_is_gone(vendor: str, connect: Connect) -> None:
    other = connect()
    run(other, "SELECT 1")
    if vendor == "sqlite":
        other.connection.close()
        error = error_of(run, other, "SELECT 1")
    elif vendor == "postgresql":
        error = error_of(run, other, "SELECT pg_terminate_backend(pg_backend_pid())")
    else:
        run(connection, f"KILL {other.connection.thread_id()}")
        error = error_of(run, other, "SELECT 1")
    if vendor != "sqlite":
        assert kind_of(error) is Kind.GONE
        assert kind_of(error_of(run, other, "SELECT 1")) is Kind.GONE
        other.connection.close()
        assert kind_of(error_of(run, other, "SELECT 1")) is Kind.GONE


def test_server_that_cannot_be_reached_is_away(vendor: str, connect: Connect) -> None:
    if vendor == "sqlite":
        other = connect(NAME="/nowhere/at/all.sqlite3")
    else:
        other = connect(HOST="127.0.0.1", PORT="1")
    error = error_of(run, other, "SELECT 1")
    assert is_away(error)
    assert refusing_database(error) == "default"
    assert refusing_database(error_of(run, connection, "SELEC 1")) is None


def test_server_that_takes_no_more_connections_is_away(vendor: str, connect: Connect) -> None:
    if vendor == "sqlite":
        return
    name = f"full_{connection.settings_dict['NAME']}"[:32]
    if vendor == "postgresql":
        run(connection, f'CREATE ROLE "{name}" LOGIN CONNECTION LIMIT 0')
        drop = f'DROP ROLE "{name}"'
    else:
        database = connection.settings_dict["NAME"]
        run(
            connection,
            f"CREATE USER '{name}'@'%' IDENTIFIED BY '' WITH MAX_USER_CONNECTIONS 1",
            f"GRANT ALL ON {database}.* TO '{name}'@'%'",
        )
        drop = f"DROP USER '{name}'@'%'"
    try:
        as_user = {"USER": name, "PASSWORD": ""}
        if vendor == "mysql":
            run(connect(**as_user), "SELECT 1")
        error = error_of(run, connect(**as_user), "SELECT 1")
        assert is_away(error)
        assert refusing_database(error) == "default"
    finally:
        run(connection, drop)


def test_read_only_window_is_not_ready(vendor: str, connect: Connect) -> None:
    other = connect()
    read_only = {
        "postgresql": "SET default_transaction_read_only = on",
        "mysql": "SET SESSION TRANSACTION READ ONLY",
        "sqlite": "PRAGMA query_only = ON",
    }[vendor]
    run(other, read_only)
    error = error_of(run, other, "DELETE FROM django_jobs_queue")
    assert kind_of(error) is Kind.NOT_READY


def test_lock_that_is_kept_for_too_long_is_not_ready(vendor: str, connect: Connect) -> None:
    Queue.objects.create(name="a")
    other = connect(OPTIONS={"timeout": 0}) if vendor == "sqlite" else connect()
    lock = "SELECT 1 FROM django_jobs_queue FOR UPDATE NOWAIT"
    if vendor == "sqlite":
        lock = "DELETE FROM django_jobs_queue"
    with transaction.atomic():
        Queue.objects.update(concurrency=1)
        assert kind_of(error_of(run, other, lock)) is Kind.NOT_READY


def test_statement_that_takes_too_long_is_not_ready(vendor: str, connect: Connect) -> None:
    if vendor == "postgresql":
        error = error_of(run, connect(), "SET statement_timeout = 1", "SELECT pg_sleep(60)")
        assert kind_of(error) is Kind.NOT_READY
    elif vendor == "mysql" and connection.mysql_is_mariadb:
        statement = "SET STATEMENT max_statement_time = 0.01 FOR SELECT SLEEP(60)"
        assert kind_of(error_of(run, connect(), statement)) is Kind.NOT_READY


def test_full_disk_is_not_ready(vendor: str, connect: Connect, tmp_path: Any) -> None:
    if vendor == "sqlite":
        other = connect(NAME=str(tmp_path / "full.sqlite3"))
        run(other, "CREATE TABLE t (x)", "PRAGMA max_page_count = 2")
        error = error_of(run, other, "INSERT INTO t VALUES (zeroblob(100000))")
        assert kind_of(error) is Kind.NOT_READY


def test_deadlock_is_a_conflict_and_is_repeated(vendor: str, connect: Connect) -> None:
    if vendor == "sqlite":
        return
    for name in "ab":
        Queue.objects.create(name=name)
    begin = "SET deadlock_timeout = '1ms'" if vendor == "postgresql" else "SELECT 1"
    lock = "SELECT 1 FROM django_jobs_queue WHERE name = '{}' FOR UPDATE"
    other = connect()
    run(other, begin, "BEGIN", lock.format("a"), "UPDATE django_jobs_queue SET concurrency = 1 "
        "WHERE name = 'a'")  # fmt: skip
    crossing = threading.Event()
    errors: list[Exception] = []

    def cross() -> None:
        crossing.set()
        try:
            run(other, lock.format("b"))
        except Error as error:
            errors.append(error)
        other.connection.rollback()

    thread = threading.Thread(target=cross)
    tries: list[int] = []

    def both() -> None:
        tries.append(1)
        with transaction.atomic():
            run(connection, begin.replace("SET", "SET LOCAL"), lock.format("b"))
            if len(tries) == 1:
                thread.start()
                crossing.wait(10)
            try:
                run(connection, lock.format("a"))
            except OperationalError as error:
                errors.append(error)
                raise

    without_deadlock("default", both)
    thread.join(30)
    # The server chooses the victim.
    (error,) = errors
    assert kind_of(error) is Kind.CONFLICT
    assert is_away(error)


def test_serialization_failure_is_a_conflict(vendor: str, connect: Connect) -> None:
    Queue.objects.create(name="a")
    other = connect()
    if vendor == "postgresql":
        run(other, "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM django_jobs_queue")
    elif vendor == "sqlite":
        run(other, "BEGIN DEFERRED", "SELECT * FROM django_jobs_queue")
        with other.cursor() as cursor:
            cursor.execute("SELECT * FROM django_jobs_queue")
            cursor.fetchall()
    else:
        return
    Queue.objects.update(concurrency=1)
    error = error_of(run, other, "UPDATE django_jobs_queue SET concurrency = 2")
    assert kind_of(error) is Kind.CONFLICT


def test_error_that_another_one_hides_is_seen(connect: Connect) -> None:
    with pytest.raises(transaction.TransactionManagementError) as caught, transaction.atomic():
        with suppress(Error):
            run(connection, "SELEC 1")
        connection.needs_rollback = True
        connection.rollback_exc = OperationalError(1213, "a deadlock")
        run(connection, "SELECT 1")
    assert kind_of(caught.value) is Kind.CONFLICT


def test_error_of_python_is_no_matter_of_the_database() -> None:
    assert not is_away(ValueError("x"))
    assert not is_away(ConnectionError("x"))
    assert kind_of(InterfaceError("connection already closed")) is Kind.GONE
