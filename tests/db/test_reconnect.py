"""A program without requests goes on after the server has closed its connection."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import Error, connection, connections, transaction

from django_jobs import AsyncResult, JobDoesNotExist, chain, control
from django_jobs.db import own_connection
from django_jobs.db.reconnect import has_news
from django_jobs.ids import uuid7
from django_jobs.models import Job
from tests import jobs

pytestmark = pytest.mark.django_db(transaction=True)

Cut = Callable[[], int]


@pytest.fixture
def cut(vendor: str, until: Callable[..., None]) -> Cut:
    """End this thread's session from another one, as the server does; return the session's id."""
    if vendor == "sqlite":
        pytest.skip("SQLite has no server that could close a connection")

    def cut() -> int:
        number = session_id()
        thread = threading.Thread(target=end_session, args=(vendor, number))
        thread.start()
        thread.join()
        until(lambda: has_news(connection.connection))
        return number

    return cut


def session_id() -> int:
    functions = {"postgresql": "pg_backend_pid()", "mysql": "CONNECTION_ID()"}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {functions[connection.vendor]}")
        number: int = cursor.fetchone()[0]
    return number


def end_session(vendor: str, number: int) -> None:
    kill = {"postgresql": "SELECT pg_terminate_backend(%s)", "mysql": "KILL %s"}[vendor]
    try:
        with connection.cursor() as cursor:
            cursor.execute(kill, [number])
    finally:
        connection.close()


def end_own_session() -> None:
    """Let the server end the session while it answers a statement, which fails."""
    kill = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": f"KILL {session_id()}",
    }[connection.vendor]
    with pytest.raises(Error), connection.cursor() as cursor:
        cursor.execute(kill)
        cursor.execute("SELECT 1")


CALLS: dict[str, Callable[[AsyncResult[Any]], Any]] = {
    "delay": lambda known: jobs.add.delay(1, 2),
    "delay_many": lambda known: jobs.add.delay_many([(1, 2), (3, 4)]),
    "id of the caller": lambda known: jobs.add.apply_async((1, 2), task_id=str(uuid7())),
    "workflow": lambda known: chain(jobs.add.s(1, 2), jobs.add.s(3)).apply_async(),
    "status": lambda known: known.status,
    "ready": lambda known: known.ready(),
    "result of any database": lambda known: AsyncResult(known.id).result,
    "revoke": lambda known: known.revoke(),
    "pause": lambda known: control.pause_queue("default"),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_after_a_cut_works(cut: Cut, name: str) -> None:
    known = jobs.add.delay(1, 1)
    before = cut()
    CALLS[name](known)
    assert session_id() != before


@pytest.mark.parametrize("name", CALLS)
def test_call_after_one_that_met_the_cut_works(cut: Cut, name: str) -> None:
    known = jobs.add.delay(1, 1)
    end_own_session()
    CALLS[name](known)


def test_job_is_written_once_after_a_cut(cut: Cut) -> None:
    cut()
    result = jobs.add.delay(1, 2)
    assert list(Job.objects.values_list("pk", flat=True)) == [result.uuid]


def test_wait_goes_on_after_a_cut(cut: Cut) -> None:
    known = jobs.add.delay(1, 1)
    Job.objects.filter(pk=known.uuid).update(status="SUCCESS", result=2)
    cut()
    assert known.get(timeout=10) == 2


def test_transaction_fails_at_a_cut_and_the_next_one_works(cut: Cut) -> None:
    with pytest.raises(Error), transaction.atomic():
        jobs.add.delay(1, 2)
        cut()
        jobs.add.delay(3, 4)
    assert Job.objects.count() == 0
    with transaction.atomic():
        jobs.add.delay(5, 6)
    assert Job.objects.count() == 1


def test_transaction_begins_after_a_cut(cut: Cut) -> None:
    cut()
    with transaction.atomic():
        jobs.add.delay(5, 6)
    assert Job.objects.count() == 1


def test_transaction_of_own_sql_fails_at_a_cut(vendor: str, cut: Cut) -> None:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL's driver tells that such a transaction is open")
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
    jobs.add.delay(1, 2)
    cut()
    with pytest.raises(Error):
        jobs.add.delay(3, 4)
    assert Job.objects.count() == 0
    jobs.add.delay(5, 6)
    assert Job.objects.get().args == [5, 6]


def test_call_inside_a_transaction_of_own_sql_does_not_end_it(vendor: str) -> None:
    if vendor != "postgresql":
        pytest.skip("the others write a call with one INSERT")
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        jobs.add.delay(1, 2)
        cursor.execute("ROLLBACK")
    assert Job.objects.count() == 0


def test_error_of_a_statement_closes_no_connection(vendor: str, cut: Cut) -> None:
    before = session_id()
    with pytest.raises(Error), connection.cursor() as cursor:
        cursor.execute("SELECT nonsense FROM nowhere")
    assert session_id() == before


def test_unknown_job_is_told_of_after_a_cut(cut: Cut) -> None:
    cut()
    with pytest.raises(JobDoesNotExist):
        AsyncResult(uuid7()).status  # noqa: B018


def test_worker_replaces_its_own_connection_itself(vendor: str, cut: Cut) -> None:
    outer = connections["default"]
    own = own_connection("default")
    try:
        cut()
        with pytest.raises(Error):
            session_id()
    finally:
        own.close()
        connections["default"] = outer


def test_every_connection_of_a_pool_may_be_cut(
    vendor: str, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL's driver has a pool")
    settings = copy.deepcopy(connections.settings["default"])
    settings["OPTIONS"]["pool"] = {"min_size": 3, "max_size": 3, "timeout": 10}
    monkeypatch.setitem(connections.settings, "default", settings)
    done: list[str] = []

    def in_a_thread() -> None:
        mine: Any = connections["default"]
        mine.ensure_connection()
        try:
            others = [mine.pool.getconn() for _ in range(2)]
            raws = [mine.connection, *others]
            numbers = [raw.info.backend_pid for raw in raws]
            for other in others:
                mine.pool.putconn(other)
            killer = threading.Thread(target=end_sessions, args=(numbers,))
            killer.start()
            killer.join()
            until(lambda: all(has_news(raw) for raw in raws))
            done.append(jobs.add.delay(1, 2).status)
        finally:
            mine.close()
            mine.close_pool()

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert done == ["PENDING"]


def end_sessions(numbers: list[int]) -> None:
    outside = connections.create_connection("default")
    outside.settings_dict = copy.deepcopy(outside.settings_dict)
    del outside.settings_dict["OPTIONS"]["pool"]
    try:
        with outside.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(n) FROM unnest(%s::int[]) AS n", [numbers])
    finally:
        outside.close()
