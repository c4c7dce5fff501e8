"""What a job leaves in its session, its process and its context, and what the next one sees."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import decimal
import gc
import os
import resource
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction
from django.utils import timezone, translation

from django_jobs import SoftTimeLimitExceeded, job
from django_jobs.models import Job, Worker
from django_jobs.run.record import record
from django_jobs.values import Outcome
from django_jobs.worker.buffer import JobBuffer
from django_jobs.worker.options import build
from django_jobs.worker.pools import POOLS
from django_jobs.worker.pools.base import Pool, PoolSetup
from django_jobs.worker.shared_slots import SharedSlots
from tests import jobs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registered"),
]

Run = Callable[..., dict[str, Outcome]]
#: A pool, and whether its jobs are coroutines that use the ORM by sync_to_async.
KINDS = {
    "prefork": ("prefork", False),
    "solo": ("solo", False),
    "threads": ("threads", False),
    "asyncio": ("asyncio", False),
    "coroutines": ("asyncio", True),
}
# The pool of solo is that of prefork, in a process that has no supervisor.
EACH = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "solo"])
# Those that put back what belongs to the process.
ALONE = pytest.mark.parametrize("kind", ["prefork", "solo"])


@pytest.fixture
def run(worker: Worker, take: Callable[..., Any]) -> Iterator[Run]:
    """Run plain functions as jobs, one after the other in a pool; return how they ended."""
    number = 0

    def run(kind: str, *bodies: Callable[..., Any], **options: Any) -> dict[str, Outcome]:
        nonlocal number
        pool_name, coroutines = KINDS[kind]
        for body in bodies:
            number += 1
            own = options.get(body.__name__, {})
            as_job(body, coroutines, f"tests.isolation.{number}.{body.__name__}", own).delay()
        return run_pool(worker, pool_name, take())

    yield run
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


def as_job(body: Callable[..., Any], coroutine: bool, name: str, options: dict[str, Any]) -> Any:
    def plain() -> Any:
        return body()

    async def in_a_thread() -> Any:
        return await sync_to_async(body)()

    function = in_a_thread if coroutine else plain
    return job(name=name, max_retries=0, **options)(function)


def run_pool(worker: Worker, name: str, claimed: list[Any], slots: int = 1) -> dict[str, Outcome]:
    buffer = JobBuffer(lambda: None, None)
    options = build(
        pool=name, processes=None, concurrency=None if name in ("solo", "prefork") else slots,
        autoscale=None, queues=(), exclude_queues=(), name="", beat=False, burst=False,
        max_jobs=None, max_memory=None, time_limit=None, soft_time_limit=None, using="default",
        grace_seconds=30,
    )  # fmt: skip

    def commit(outcomes: Sequence[Outcome]) -> bool:
        return bool(record(worker.pk, outcomes, "default"))

    setup = PoolSetup("w", options, buffer, SharedSlots(slots), {}, lambda *_: None, commit)
    pool = POOLS[name](setup)
    buffer.put(claimed)
    buffer.close()
    with handlers_kept(), connections_closed(pool):
        pool.run()
    outcomes = buffer.ended()
    record(worker.pk, [outcome for outcome in outcomes if not outcome.recorded], "default")
    return {outcome.job.name.rsplit(".", 1)[1]: outcome for outcome in outcomes}


class handlers_kept:
    """A pool sets handlers of the process for good."""

    def __enter__(self) -> None:
        self.alarm = signal.getsignal(signal.SIGALRM)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGALRM, self.alarm)


class connections_closed:
    """The threads of an asyncio pool keep their connections to the end of the process."""

    def __init__(self, pool: Pool) -> None:
        self.threads = getattr(pool, "_threads", None)

    def __enter__(self) -> None:
        if self.threads is not None:
            shutdown = self.threads.shutdown

            def close_and_shut_down() -> None:
                self.threads.submit(connections.close_all).result()
                shutdown()

            self.threads.shutdown = close_and_shut_down

    def __exit__(self, *_: object) -> None: ...


def honest() -> int:
    Group.objects.create(name=f"honest {uuid.uuid4()}")
    return committed()


def committed() -> int:
    return Group.objects.filter(name__startswith="honest").count()


# --- transactions -------------------------------------------------------------------------------


def begin_with_sql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
    Group.objects.create(name="never")


def begin_past_django() -> None:
    connection.ensure_connection()
    connection.connection.cursor().execute("BEGIN")
    Group.objects.create(name="never")


def enter_atomic() -> None:
    transaction.atomic().__enter__()
    Group.objects.create(name="never")


def turn_autocommit_off() -> None:
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SET autocommit = 0")
    elif connection.vendor == "postgresql":
        connection.ensure_connection()
        connection.connection.autocommit = False
    else:
        connection.set_autocommit(False)
    Group.objects.create(name="never")


@EACH
@pytest.mark.parametrize(
    "body", [begin_with_sql, begin_past_django, enter_atomic, turn_autocommit_off]
)
def test_transaction_left_open_is_the_fault_of_its_own_job(
    run: Run, kind: str, body: Callable[..., Any]
) -> None:
    outcomes = run(kind, honest, body, honest, honest)
    guilty = outcomes[body.__name__]
    assert guilty.status == "FAILURE"
    assert guilty.failure is not None
    assert guilty.failure.error_class == "django_jobs.exceptions.TransactionLeftOpen"
    assert "database 'default'" in guilty.failure.message
    assert sorted(Job.objects.values_list("status", flat=True)) == ["FAILURE", *["SUCCESS"] * 3]
    assert committed() == 3
    assert not Group.objects.filter(name="never").exists()


@EACH
def test_transaction_left_open_by_a_job_that_failed_harms_no_other(run: Run, kind: str) -> None:
    def fail_inside() -> None:
        begin_with_sql()
        raise ValueError("mine")

    outcomes = run(kind, fail_inside, honest)
    assert outcomes["fail_inside"].failure is not None
    assert outcomes["fail_inside"].failure.message == "mine"
    assert outcomes["honest"].value == 1
    assert committed() == 1


@pytest.mark.parametrize("kind", ["prefork", "threads", "asyncio"])
@pytest.mark.parametrize("word", ["COMMIT", "ROLLBACK"])
def test_atomic_job_that_ends_its_transaction_is_no_success(run: Run, kind: str, word: str) -> None:
    def body() -> None:
        Group.objects.create(name="early")
        with connection.cursor() as cursor:
            cursor.execute(word)
        if connection.vendor != "sqlite":
            Group.objects.create(name="late")

    failure = run(kind, body, body={"atomic": True})["body"].failure
    assert failure is not None
    assert failure.error_class == "django.db.transaction.TransactionManagementError"
    assert f"its own {word} ended its transaction" in failure.message
    assert Job.objects.get().status == "FAILURE"
    assert not Group.objects.filter(name="late").exists()


@pytest.mark.parametrize("kind", ["prefork", "threads", "asyncio"])
def test_atomic_job_that_closes_its_connection_is_no_success(run: Run, kind: str) -> None:
    def body() -> None:
        Group.objects.create(name="lost")
        connection.close()

    failure = run(kind, body, body={"atomic": True})["body"].failure
    assert failure is not None
    assert failure.error_class == "django.db.transaction.TransactionManagementError"
    assert "the close() of its connection ended its transaction" in failure.message
    assert Job.objects.get().status == "FAILURE"
    assert not Group.objects.exists()


def test_atomic_job_that_loses_its_session_runs_as_often_as_after_crashes(
    run: Run, vendor: str
) -> None:
    if vendor != "postgresql":
        pytest.skip("SQLite has no server, and MariaDB answers only the next statement")
    attempts: list[int] = []

    def body() -> None:
        attempts.append(1)
        Group.objects.create(name="lost")
        connection.connection.close()

    Job.objects.all().delete()
    run("prefork", body, body={"atomic": True})
    row = Job.objects.get()
    assert (row.status, row.crashes, len(attempts)) == ("PENDING", 1, 1)


def test_atomic_job_may_use_savepoints_and_words_in_text(run: Run) -> None:
    def body() -> int:
        with transaction.atomic():
            Group.objects.create(name="inner; commit")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Group.objects.create(name="undone")
            raise ZeroDivisionError
        with connection.cursor() as cursor:
            cursor.execute("SELECT 'a; rollback; b'")
        return Group.objects.count()

    assert run("prefork", body, body={"atomic": True})["body"].value == 1
    assert Job.objects.get().status == "SUCCESS"


# --- sessions -----------------------------------------------------------------------------------

#: A statement that changes the session, a query that shows it, and what a fresh session answers.
CHANGES = {
    "postgresql": [
        ("SET search_path TO pg_catalog", "SHOW search_path", '"$user", public'),
        ("SET statement_timeout = 4321", "SHOW statement_timeout", "0"),
        ("SELECT set_config('lock_timeout', '4321', false)", "SHOW lock_timeout", "0"),
        ("/* note */ set role pg_monitor", "SELECT current_user = session_user", True),
        ("CREATE TEMP TABLE t (a int)", "SELECT to_regclass('pg_temp.t')", None),
        ("SELECT 1 AS a INTO TEMP t", "SELECT to_regclass('pg_temp.t')", None),
        ("LISTEN somewhere", "SELECT count(*) FROM pg_listening_channels()", 0),
        ("PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements", 0),
        (
            "SELECT pg_advisory_lock(4321)",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            0,
        ),
        ("BEGIN; SET lock_timeout = 4321; COMMIT", "SHOW lock_timeout", "0"),
    ],
    "mysql": [
        ("SET SESSION lock_wait_timeout = 4321", "SELECT @@lock_wait_timeout <> 4321", 1),
        ("SET @x = 1", "SELECT @x", None),
        ("SELECT @x := 1", "SELECT @x", None),
        # A server frees the locks of a closed session a moment later.
        (
            "SELECT GET_LOCK('held', 60)",
            "SELECT COALESCE(IS_USED_LOCK('held') = CONNECTION_ID(), 0)",
            0,
        ),
        ("SET NAMES latin1", "SELECT @@character_set_client", "utf8mb4"),
    ],
    "sqlite": [
        ("PRAGMA cache_size = 4321", "PRAGMA cache_size", -2000),
        (
            "CREATE TEMP TABLE t (a int)",
            "SELECT count(*) FROM sqlite_temp_master",
            0,
        ),
        (
            "ATTACH ':memory:' AS other",
            "SELECT count(*) FROM pragma_database_list WHERE name = 'other'",
            0,
        ),
    ],
}


@EACH
def test_session_is_handed_on_clean(run: Run, kind: str, vendor: str) -> None:
    for change, question, fresh in CHANGES[vendor]:

        def touch(change: str = change) -> None:
            with connection.cursor() as cursor:
                cursor.execute(change)

        def ask(question: str = question) -> Any:
            with connection.cursor() as cursor:
                cursor.execute(question)
                return cursor.fetchone()[0]

        outcomes = run(kind, touch, ask)
        assert outcomes["touch"].status == "SUCCESS", change
        assert outcomes["ask"].value == fresh, change


@EACH
def test_session_that_was_changed_past_django_is_closed(run: Run, kind: str, vendor: str) -> None:
    if vendor == "sqlite":
        # Its driver tells nothing of statements that go past Django; the docs say so.
        return
    change, question, fresh = CHANGES[vendor][0]

    def touch() -> None:
        connection.ensure_connection()
        connection.connection.cursor().execute(change)

    def ask() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0]

    assert run(kind, ask, touch, ask)["ask"].value == fresh


@EACH
def test_plain_orm_jobs_keep_their_session(run: Run, kind: str, vendor: str) -> None:
    seen: list[int] = []

    def use_orm() -> None:
        with transaction.atomic():
            Group.objects.get_or_create(name="here")
            Group.objects.select_for_update().filter(name="here").delete()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM auth_group WHERE name = %s", ["; SET x"])
        jobs.add.delay(1)
        seen.append(session_number())

    outcomes = run(kind, use_orm, use_orm, use_orm)
    assert outcomes["use_orm"].status == "SUCCESS"
    assert len(seen) == 3
    assert len(set(seen)) == 1


kept: list[Any] = []  # an id is another object's once its own is gone


def session_number() -> int:
    connection.ensure_connection()
    kept.append(connection.connection)
    return id(connection.connection)


# --- sessions that end --------------------------------------------------------------------------


@EACH
def test_session_closed_below_django_fails_nobody(run: Run, kind: str) -> None:
    def close() -> None:
        connection.ensure_connection()
        connection.connection.close()

    assert run(kind, honest, close, honest)["honest"].status == "SUCCESS"
    assert committed() == 2


@EACH
def test_session_that_the_server_ended_between_two_jobs_fails_nobody(
    run: Run, kind: str, vendor: str
) -> None:
    if vendor == "sqlite":
        # There is no server.
        return
    ids: list[int] = []

    def tell() -> None:
        number = {"postgresql": "pg_backend_pid()", "mysql": "CONNECTION_ID()"}[vendor]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {number}")
            ids.append(cursor.fetchone()[0])

    def idle() -> None:
        """The server ends the session of the job before while this one runs, without the ORM."""
        threading_cut = threading.Thread(target=cut, args=(vendor, ids[-1]))
        threading_cut.start()
        threading_cut.join()

    def count() -> int:
        return Group.objects.count()

    for _ in range(3):
        outcomes = run(kind, tell, idle, count, tell, idle, honest)
        assert {outcome.status for outcome in outcomes.values()} == {"SUCCESS"}, outcomes


def cut(vendor: str, session: int) -> None:
    """End a session, and return when its end has reached this host."""
    try:
        with connection.cursor() as cursor:
            if vendor == "mysql":
                cursor.execute(f"KILL {session}")
                gone = "SELECT count(*) = 0 FROM information_schema.processlist WHERE id = %s"
            else:
                cursor.execute("SELECT pg_terminate_backend(%s)", [session])
                gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s"
            while True:
                cursor.execute(gone, [session])
                if cursor.fetchone()[0]:
                    return
    finally:
        connection.close()


# --- connections from a pool -------------------------------------------------------------------


@pytest.fixture
def one_pooled_connection(monkeypatch: pytest.MonkeyPatch, vendor: str) -> Iterator[None]:
    """Let new threads take their connections from a pool of one, with psycopg."""
    if vendor != "postgresql":
        yield
        return
    pooled = copy.deepcopy(connections.settings["default"])
    pooled["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1, "timeout": 10}
    monkeypatch.setitem(connections.settings, "default", pooled)
    yield
    pools: dict[str, Any] = type(connections["default"])._connection_pools  # type: ignore[attr-defined]
    if "default" in pools:
        pools.pop("default").close()


@pytest.mark.usefixtures("one_pooled_connection")
def test_pooled_connection_goes_back_after_each_job(
    worker: Worker, take: Callable[..., Any], vendor: str
) -> None:
    together = threading.Barrier(2)

    def count() -> int:
        together.wait(60)  # both slots have a job
        return Group.objects.count()

    for number in range(4):
        as_job(count, False, f"tests.isolation.pooled.{number}", {}).delay()
    outcomes = run_pool(worker, "threads", take(), slots=2)
    assert [outcome.value for outcome in outcomes.values()] == [0] * 4


@pytest.mark.parametrize("kind", ["threads", "coroutines"])
@pytest.mark.usefixtures("one_pooled_connection")
def test_session_that_was_changed_goes_back_to_no_pool(run: Run, kind: str, vendor: str) -> None:
    change, question, fresh = CHANGES[vendor][0]

    def touch() -> None:
        with connection.cursor() as cursor:
            cursor.execute(change)

    def ask() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0]

    assert run(kind, ask, touch, ask)["ask"].value == fresh


def slow_statement(vendor: str) -> str:
    return {
        "postgresql": "SELECT pg_sleep(600)",
        "mysql": "SELECT SLEEP(0.5)",
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 3000000) SELECT count(*) FROM n",
    }[vendor]


@ALONE
def test_limit_amid_a_statement_drops_the_session(run: Run, kind: str, vendor: str) -> None:
    def limited() -> None:
        with connection.cursor() as cursor:
            cursor.execute(slow_statement(vendor))
            cursor.execute(slow_statement(vendor))

    outcomes = run(kind, limited, honest, honest, limited={"soft_time_limit": 0.2})
    failure = outcomes["limited"].failure
    assert failure is not None
    assert failure.error_class == "django_jobs.exceptions.SoftTimeLimitExceeded"
    assert outcomes["honest"].status == "SUCCESS"
    assert committed() == 2


@ALONE
def test_body_tidies_up_with_the_orm_after_its_limit(run: Run, kind: str, vendor: str) -> None:
    def limited() -> int:
        try:
            with connection.cursor() as cursor:
                while True:
                    cursor.execute(slow_statement(vendor))
        except SoftTimeLimitExceeded:
            return honest()

    outcomes = run(kind, limited, honest, limited={"soft_time_limit": 0.2})
    assert outcomes["limited"].value == 1
    assert outcomes["honest"].value == 2


# --- the process --------------------------------------------------------------------------------


def leave_handlers(number: int) -> Callable[..., None]:
    def leave() -> None:
        signal.signal(number, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 600)

    return leave


@ALONE
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGALRM", "SIGUSR1", "SIGCHLD", "SIGPIPE"])
def test_handlers_and_alarms_are_put_back(run: Run, kind: str, name: str) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)
    seen: list[Any] = []

    def look() -> None:
        seen.append(signal.getsignal(number))

    def limited() -> None:
        threading.Event().wait(600)

    outcomes = run(
        kind, look, leave_handlers(number), look, limited, limited={"soft_time_limit": 0.1}
    )
    failure = outcomes["limited"].failure
    assert failure is not None
    assert failure.error_class == "django_jobs.exceptions.SoftTimeLimitExceeded"
    assert seen[0] == seen[1]
    if number != signal.SIGALRM:
        assert signal.getsignal(number) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_coroutine_that_leaves_a_handler_harms_no_other(run: Run) -> None:
    before = signal.getsignal(signal.SIGTERM)

    @job(name="tests.isolation.leave_a_handler")
    async def leave() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    leave.delay()
    run("asyncio", honest)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("kind", ["threads", "asyncio", "coroutines"])
def test_alarm_in_a_shared_process_harms_nobody(run: Run, kind: str) -> None:
    def alarm() -> None:
        os.kill(os.getpid(), signal.SIGALRM)

    assert run(kind, alarm, honest)["honest"].status == "SUCCESS"


@ALONE
def test_process_is_as_it_was(run: Run, kind: str, tmp_path: Any) -> None:
    def change() -> None:
        os.chdir(tmp_path)
        socket.setdefaulttimeout(4.5)
        sys.stdout = sys.stderr = None  # type: ignore[assignment]
        gc.disable()
        sys.setrecursionlimit(2_345)

    def look() -> list[Any]:
        print("seen", end="")  # noqa: T201
        folder = os.getcwd()  # noqa: PTH109
        return [folder, socket.getdefaulttimeout(), gc.isenabled(), sys.getrecursionlimit()]

    expected = look()
    assert run(kind, change, look)["look"].value == expected


@EACH
def test_resource_limits_are_put_back(
    run: Run, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def change() -> None:
        for number in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
            resource.setrlimit(number, (512, resource.getrlimit(number)[1]))

    def look() -> list[Any]:
        return [resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]

    expected = look()
    assert run(kind, change, look)["look"].value == expected
    assert "resource limit" in caplog.text


def test_process_that_cannot_be_put_back_is_replaced(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def change() -> None:
        os.chdir(tmp_path)

    def refuse(folder: int) -> None:
        raise OSError("gone")

    monkeypatch.chdir(os.getcwd())  # noqa: PTH109
    monkeypatch.setattr("django_jobs.worker.isolation.os.fchdir", refuse)
    outcomes = run("prefork", change, committed)
    assert [outcome.status for outcome in outcomes.values()] == ["SUCCESS"]
    assert "process is replaced" in caplog.text
    assert "cannot be put back: OSError('gone')" in caplog.text


@EACH
def test_process_whose_limits_cannot_be_put_back_is_replaced(
    run: Run, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def change() -> None:
        resource.prlimit(0, resource.RLIMIT_NOFILE, (soft - 1, hard))

    def refuse(number: int, limits: tuple[int, int]) -> None:
        raise OSError("refused")

    monkeypatch.setattr("django_jobs.worker.isolation.resource.setrlimit", refuse)
    try:
        outcomes = run(kind, change, committed)
    finally:
        resource.prlimit(0, resource.RLIMIT_NOFILE, (soft, hard))
    assert list(outcomes) == ["change"]
    assert "process is replaced" in caplog.text
    assert "cannot be put back: OSError('refused')" in caplog.text


def test_folder_is_put_back_only_after_a_job_that_changed_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def change() -> None:
        os.chdir(tmp_path)

    put_back, fchdir = [], os.fchdir

    def count(folder: int) -> None:
        put_back.append(folder)
        fchdir(folder)

    run("prefork", honest)  # after code of this process that may have changed it
    monkeypatch.setattr("django_jobs.worker.isolation.os.fchdir", count)
    run("prefork", honest, committed)
    assert put_back == []
    run("prefork", honest, change, committed)
    assert len(put_back) == 1


# --- the context --------------------------------------------------------------------------------

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def change_context() -> None:
    variable.set("set")
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    decimal.getcontext().prec = 3


def look_around() -> list[Any]:
    return [
        variable.get(),
        translation.get_language(),
        timezone.get_current_timezone_name(),
        decimal.getcontext().prec,
    ]


@EACH
def test_context_ends_with_the_job(run: Run, kind: str) -> None:
    decimal.getcontext()
    expected = look_around()
    assert run(kind, look_around, change_context, look_around)["look_around"].value == expected
    assert look_around() == expected


def test_context_of_a_coroutine_ends_with_the_job(run: Run) -> None:
    expected = look_around()

    @job(name="tests.isolation.change")
    async def change() -> None:
        change_context()
        await asyncio.sleep(0)

    @job(name="tests.isolation.look")
    async def look() -> list[Any]:
        return look_around()

    change.delay()
    look.delay()
    run("asyncio", honest)
    assert Job.objects.get(name="tests.isolation.look").result == expected


def test_eager_run_changes_nothing_for_its_caller(registered: Any) -> None:
    expected = look_around()
    assert job(name="tests.isolation.eager")(change_context).apply().successful()
    assert look_around() == expected


def test_eager_run_inside_a_job_belongs_to_it(run: Run) -> None:
    def outer() -> int:
        with transaction.atomic():
            Group.objects.create(name="outer")
            inner = job(name="tests.isolation.inner")(honest).apply()
        return int(inner.get())

    assert run("prefork", outer)["outer"].value == 1
    assert Group.objects.count() == 2
