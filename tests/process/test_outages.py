"""The database refuses for a while: no process ends or spins, and no job is lost."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections

from django_jobs import job, log
from django_jobs.db import dialect_for, own_connection
from django_jobs.models import Job, Worker
from django_jobs.process.reconnect import longer
from django_jobs.process.timers import Timer, Timers
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.values import Claimed, Outcome
from django_jobs.worker.connection_backoff import TRYING_SECONDS
from django_jobs.worker.loop import WorkerLoop
from tests import jobs
from tests.proxy import Proxy, through
from tests.worker.parts import Clock, end

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("registered")]

Take = Callable[..., list[Claimed]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(new_loop: Callable[..., WorkerLoop], clock: Clock) -> WorkerLoop:
    return new_loop(clock=clock, pool="threads", slots=4)


def turn(loop: WorkerLoop) -> None:
    loop.wakeup.waker.wake()  # it need not sleep after an error
    loop.turn()


def begin_read_only_window(vendor: str) -> None:
    """Let this connection refuse writes until it is closed, as a server does in a failover."""
    with connection.cursor() as cursor:
        cursor.execute(
            {
                "postgresql": "SET default_transaction_read_only = on",
                "mysql": "SET SESSION TRANSACTION READ ONLY",
                "sqlite": "PRAGMA query_only = ON",
            }[vendor]
        )


# --- the worker's own writes --------------------------------------------------------------------


@pytest.mark.parametrize("function", [jobs.add, jobs.fail])
def test_outcome_outlives_a_read_only_window(
    loop: WorkerLoop, vendor: str, caplog: pytest.LogCaptureFixture, function: Any
) -> None:
    result = function.delay(1)
    turn(loop)
    claimed = loop.buffer.take(0, wait=False)
    assert claimed is not None
    loop.buffer.end(0, execute(claimed, Environment()))
    begin_read_only_window(vendor)
    turn(loop)
    assert "database away" in caplog.text
    assert result.status == "STARTED"
    assert loop.buffer.counts()[2] == 1
    turn(loop)
    assert result.status == ("SUCCESS" if function is jobs.add else "FAILURE")
    assert result.job.error_class in ("", "builtins.ValueError")


def test_part_whose_statement_is_refused_rests_alone(
    loop: WorkerLoop,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = jobs.add.delay(1)
    turn(loop)
    claimed = loop.buffer.take(0, wait=False)
    assert claimed is not None
    jobs.add.delay(2)
    loop.buffer.end(0, execute(claimed, Environment()))

    def refused(*_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    monkeypatch.setattr(type(dialect_for(connection)), "claim", refused)
    loop.timer.look()
    for _ in range(3):
        turn(loop)
    assert caplog.text.count("statement refused while=claiming") == 1
    assert "database away" not in caplog.text
    assert result.status == "SUCCESS"
    # It sleeps, and nothing that it hears wakes it before.
    loop.timer.heard()
    assert loop.producer.next_look() > clock()
    assert loop.step() > 0
    monkeypatch.undo()
    clock.advance(1.0)
    turn(loop)
    assert loop.buffer.counts()[0] == 1
    assert loop.producer.next_look() <= clock()


def test_stop_that_was_given_up_ends_without_the_database_and_keeps_its_jobs(
    loop: WorkerLoop, vendor: str
) -> None:
    jobs.add.delay(1)
    turn(loop)
    claimed = loop.buffer.take(0, wait=False)
    assert claimed is not None
    loop.buffer.end(0, execute(claimed, Environment()))
    loop.state.stopping = True
    with unreachable(vendor):
        loop.wakeup.waker.wake()
        assert loop.turn()
        loop.state.given_up = True
        assert not loop.turn()
    assert loop.buffer.held() == {(claimed.id, claimed.claims)}


# --- atomic jobs --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_atomic_job_whose_commit_was_lost_is_never_a_failure(
    worker: Worker, take: Take, vendor: str, when: str
) -> None:
    if vendor == "sqlite":
        return
    tries: list[int] = []

    @job(atomic=True)
    def write() -> None:
        tries.append(1)
        Group.objects.create(name="written")

    result = write.delay()
    (claimed,) = take()
    proxy = Proxy()
    with through(proxy):
        Group.objects.count()
        proxy.lose("COMMIT", when)
        outcome = execute(claimed, committing(worker))
    proxy.close()
    assert (len(tries), outcome.status) == (1, "PENDING")
    record(worker.pk, [outcome], "default")
    assert result.status == ("PENDING" if when == "before" else "SUCCESS")
    assert Group.objects.filter(name="written").count() == (when == "after")


def committing(worker: Worker, **others: Any) -> Environment:
    def commit(outcomes: Sequence[Outcome]) -> bool:
        return len(record(worker.pk, outcomes, "default")) == len(outcomes)

    return Environment(commit=commit, **others)


def test_atomic_job_is_repeated_after_a_conflict(worker: Worker, take: Take, vendor: str) -> None:
    if vendor == "sqlite":
        # A transaction that begins with BEGIN IMMEDIATE meets no conflict.
        return
    Group.objects.create(name="counter")
    tries: list[int] = []

    @job(atomic=True)
    def write() -> int:
        tries.append(1)
        with connection.cursor() as cursor:
            if vendor == "postgresql":
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            Group.objects.create(name=f"try {len(tries)}")
            if len(tries) < 3:
                conflict(cursor)
        return len(tries)

    def conflict(cursor: Any) -> None:
        if vendor == "postgresql":
            other = connections.create_connection("default")
            with other.cursor() as beside:
                beside.execute(f"UPDATE auth_group SET name = 'c{len(tries)}' WHERE name LIKE 'c%'")
            other.close()
            Group.objects.filter(name__startswith="c").update(name="mine")
        else:
            cursor.execute("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213")

    result = write.delay()
    (claimed,) = take()
    outcome = execute(claimed, committing(worker))
    assert (outcome.status, outcome.value, outcome.retries) == ("SUCCESS", 3, 0)
    assert result.status == "SUCCESS"
    assert set(Group.objects.filter(name__startswith="try").values_list("name", flat=True)) == {
        "try 3"
    }


def test_atomic_job_that_meets_a_conflict_each_time_fails_with_it(
    worker: Worker, take: Take, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if vendor == "sqlite":
        return
    monkeypatch.setattr("django_jobs.run.call.random.uniform", lambda *_: 0.0)

    @job(atomic=True)
    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END$$"
                if vendor == "postgresql"
                else "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213"
            )

    write.delay()
    (claimed,) = take()
    outcome = execute(claimed, committing(worker))
    assert outcome.status == "FAILURE"
    assert outcome.failure is not None
    assert outcome.failure.error_class == "django.db.utils.OperationalError"


# --- jobs that cannot connect -------------------------------------------------------------------


@contextlib.contextmanager
def unreachable(vendor: str) -> Iterator[None]:
    """Let this thread's database be one that nobody can connect to."""
    kept = connections["default"]
    other = connections.create_connection("default")
    nowhere = {"NAME": "/nowhere/at/all"} if vendor == "sqlite" else {"HOST": "127.0.0.1"}
    other.settings_dict = {**kept.settings_dict, "PORT": "1", **nowhere}
    connections["default"] = other
    try:
        yield
    finally:
        connections["default"] = kept


@contextlib.contextmanager
def full(vendor: str) -> Iterator[None]:
    """Let the server have no connection left for this thread; SQLite opens no file."""
    kept = connections["default"]
    if vendor == "sqlite":
        with unreachable(vendor):
            yield
        return
    database = kept.settings_dict["NAME"]
    user = f"{database}_full"[:32]
    with kept.cursor() as cursor:
        if vendor == "postgresql":
            cursor.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'full' CONNECTION LIMIT 1")
        else:
            limit = "WITH MAX_USER_CONNECTIONS 1"
            cursor.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'full' {limit}")
            cursor.execute(f"GRANT SELECT ON `{database}`.* TO '{user}'@'%'")
    others = [connections.create_connection("default") for _ in range(2)]
    for other in others:
        other.settings_dict = {**kept.settings_dict, "USER": user, "PASSWORD": "full"}
    others[0].connect()
    connections["default"] = others[1]
    try:
        yield
    finally:
        connections["default"] = kept
        for other in others:
            other.close()
        with kept.cursor() as cursor:
            cursor.execute(f"DROP ROLE {user}" if vendor == "postgresql" else f"DROP USER '{user}'")


def test_outage_is_logged_once_by_all_work_of_a_process(
    loop: WorkerLoop,
    vendor: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO", logger="django_jobs.worker")
    outage_clock = Clock()
    monkeypatch.setattr(log, "outage", log.Outage(outage_clock))

    def ask() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT 1")

    names = ("heartbeat", "promote", "rescue")
    timers = Timers([Timer(name, 60.0, ask) for name in names], "default")

    def try_all() -> None:
        for name in names:
            timers.ask(name)
        timers.run_due()
        turn(loop)

    with full(vendor):
        for _ in range(5):
            loop.timer.look()
            try_all()
        assert caplog.text.count("database away") == 1
        assert "database back" not in caplog.text
        outage_clock.advance(60)
        try_all()
        try_all()
        assert caplog.text.count("database away") == 2
    try_all()
    try_all()
    assert caplog.text.count("database back") == 1
    # The next outage is news, whatever its cause.
    with full(vendor):
        try_all()
    assert caplog.text.count("database away") == 3


def test_outage_of_another_cause_is_logged_and_numbers_in_the_error_are_no_cause() -> None:
    clock = Clock()
    outage = log.Outage(clock)
    assert outage.is_news("server process 17 crashed")
    clock.advance(59)
    assert not outage.is_news("server process 18 crashed")
    assert outage.is_news("too many clients already")
    clock.advance(1)
    assert outage.is_news("server process 19 crashed")


def test_pauses_grow_up_to_some_seconds_and_differ() -> None:
    def pauses() -> list[float]:
        found = [longer(0.0)]
        for _ in range(9):
            found.append(longer(found[-1]))
        return found

    runs = [pauses() for _ in range(20)]
    assert all(0.25 <= each[0] <= 0.5 and 2.5 <= each[-1] <= 5.0 for each in runs)
    assert len({each[-1] for each in runs}) > 1


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("acks_late", [False, True])
def test_job_that_cannot_connect_is_given_back(
    take: Take, vendor: str, atomic: bool, acks_late: bool
) -> None:
    @job(atomic=atomic, acks_late=acks_late, autoretry_for=(Exception,))
    def count() -> int:
        return Group.objects.count()

    count.delay()
    (claimed,) = take()
    refused: list[BaseException] = []
    with unreachable(vendor):
        outcome = execute(claimed, Environment(refused=refused.append))
    assert len(refused) == 1
    assert (outcome.status, outcome.retries) == ("PENDING" if acks_late else "FAILURE", 0)
    if not acks_late:
        assert outcome.failure is not None
        assert "WorkerLost" in outcome.failure.error_class
        assert "could not connect" in outcome.failure.message


def test_job_that_handles_the_refusal_ends_as_it_wants(take: Take, vendor: str) -> None:
    @job
    def count() -> int:
        with contextlib.suppress(Exception):
            return Group.objects.count()
        return -1

    count.delay()
    (claimed,) = take()
    with unreachable(vendor):
        assert execute(claimed, Environment()).value == -1


def test_worker_whose_jobs_cannot_connect_rests_and_then_tries_with_one(
    loop: WorkerLoop, clock: Clock
) -> None:
    loop.buffer.run_seconds = 0.0001
    jobs.add.delay_many((number,) for number in range(20))
    error = Exception("too many clients")
    loop.connections.refused(error)
    loop.connections.refused(error)  # of another slot, at the same time
    assert loop.step() > 0
    assert Job.objects.filter(status="STARTED").count() == 0
    clock.advance(0.5)
    loop.step()
    assert Job.objects.filter(status="STARTED").count() == 1
    clock.advance(TRYING_SECONDS)
    end(loop.buffer, clock=clock)
    assert loop.producer.wanted() > 1


# --- settings of the worker's own connections ---------------------------------------------------


def test_own_connection_is_read_committed_whatever_the_role_says(
    vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = connections["default"].settings_dict
    options = dict(settings["OPTIONS"])
    if vendor == "postgresql":
        options |= {"options": "-c default_transaction_isolation=serializable"}
    elif vendor == "mysql":
        options |= {"isolation_level": "repeatable read"}
    else:
        return
    monkeypatch.setitem(settings, "OPTIONS", options)
    monkeypatch.setitem(settings, "AUTOCOMMIT", False)
    kept = connections["default"]
    try:
        own = own_connection("default")
        with own.cursor() as cursor:
            level = "transaction_isolation" if vendor == "postgresql" else "tx_isolation"
            cursor.execute(f"SHOW {level}" if vendor == "postgresql" else f"SELECT @@{level}")
            assert cursor.fetchone()[0].lower().replace("-", " ") == "read committed"
        assert own.get_autocommit()
        own.close()
    finally:
        connections["default"] = kept


def test_cut_network_ends_an_own_session_within_seconds(vendor: str) -> None:
    if vendor == "sqlite":
        return
    kept = connections["default"]
    try:
        own: Any = own_connection("default")
        own.ensure_connection()
        with socket.socket(fileno=os.dup(own.connection.fileno())) as copy:
            if copy.family != socket.AF_UNIX:
                idle, between, probes, unanswered = (
                    copy.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
                )
                assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert idle + between * probes <= 10
                assert 0 < unanswered <= 10_000
        own.close()
    finally:
        connections["default"] = kept


def test_server_ends_an_own_session_that_was_cut_amid_a_transaction(vendor: str) -> None:
    if vendor == "sqlite":
        return
    kept = connections["default"]
    try:
        own = own_connection("default")
        with own.cursor() as cursor:
            if vendor == "postgresql":
                cursor.execute("SHOW idle_in_transaction_session_timeout")
                assert cursor.fetchone() == ("10s",)
            else:
                cursor.execute("SELECT @@wait_timeout")
                assert cursor.fetchone() == (30,)
        own.close()
    finally:
        connections["default"] = kept
