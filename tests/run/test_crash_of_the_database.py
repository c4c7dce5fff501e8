"""A PostgreSQL crashes before it has written its log: it loses claims, and nothing else.

The server is one of these tests' own. Its WAL writer is stopped, so an asynchronous commit stays in
memory; a statement that commits synchronously writes the log itself, with all that came before.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import environ
import psycopg
import pytest
from django.core.management import call_command
from django.db import ConnectionHandler, connections

from django_jobs import job
from django_jobs.beat.fire import fire_due
from django_jobs.db import clock, direct, own_connection
from django_jobs.models import Job, Permit, Schedule, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.schedules.planning import plan
from django_jobs.worker.loop import WorkerLoop
from tests import jobs
from tests.postgresql import CannotStart, embedded_postgresql
from tests.waiting import LONG
from tests.worker.parts import a_loop

pytestmark = pytest.mark.once

# Each would write the log meanwhile.
QUIET = {"autovacuum": "off", "bgwriter_lru_maxpages": "0", "checkpoint_timeout": "1h"}
# What the system has outlives the server: the disk need not have it.
FAST = {"fsync": "off"}


class Server:
    """A PostgreSQL that can crash; :meth:`use` works with it in a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._writer = 0

    def use(self, action: Callable[[], Any]) -> None:
        """Call *action* in a thread whose connection is a worker's own to this server."""
        problems: list[BaseException] = []

        def target() -> None:
            try:
                own_connection("default")
                action()
            except BaseException as error:
                problems.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
        if problems:
            raise problems[0]

    def jobs(self) -> list[tuple[Any, ...]]:
        """Return the status, the claims and the worker of each job."""
        with psycopg.connect(self._url) as session:
            query = "SELECT status, claims, worker_id FROM django_jobs_job ORDER BY id"
            return session.execute(query).fetchall()

    def stop_writing(self) -> None:
        """Let no asynchronous commit reach the disk from now on."""
        query = "SELECT pid, wait_event FROM pg_stat_activity WHERE backend_type = 'walwriter'"
        is_asleep = False
        while not is_asleep:
            with psycopg.connect(self._url) as session:
                self._writer, _event = session.execute(query).fetchall()[0]
                os.kill(self._writer, signal.SIGSTOP)
            with psycopg.connect(self._url) as session:
                # Amid its work it holds locks that every commit needs.
                is_asleep = session.execute(query).fetchall() == [(self._writer, "WalWriterMain")]
            if not is_asleep:
                os.kill(self._writer, signal.SIGCONT)

    def crash(self) -> None:
        """End all processes of the server at once; return when it answers again."""
        with psycopg.connect(self._url) as session:
            # The postmaster ends the others when one of them was killed.
            os.kill(self._writer, signal.SIGKILL)
            deadline = time.monotonic() + LONG
            while not session.closed and time.monotonic() < deadline:
                try:
                    session.execute("SELECT 1")
                except psycopg.OperationalError:
                    break
        while time.monotonic() < deadline:
            try:
                psycopg.connect(self._url).close()
            except psycopg.OperationalError:
                time.sleep(0.01)
            else:
                return
        raise AssertionError("the server did not come back")


@pytest.fixture(scope="module")
def started(django_db_blocker: Any) -> Iterator[tuple[Server, dict[str, Any]]]:
    try:
        with embedded_postgresql(**QUIET, **FAST) as url, django_db_blocker.unblock():
            config = environ.Env.db_url_config(url)
            settings = ConnectionHandler({"default": config}).settings["default"]
            server = Server(url)
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(connections.settings, "default", settings)
                server.use(lambda: call_command("migrate", verbosity=0))
            yield server, settings
    except CannotStart as error:
        pytest.skip(str(error))


@pytest.fixture
def server(
    started: tuple[Server, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    server, settings = started
    monkeypatch.setitem(connections.settings, "default", settings)
    yield server
    server.use(lambda: [model.objects.all().delete() for model in (Job, Schedule, Worker, Permit)])


def a_worker() -> Worker:
    now = clock("default")
    return Worker.objects.create(
        name="w", hostname="h", pid=1, pool="solo", started_at=now, heartbeat_at=now,
        lease_until=clock("default", 600),
    )  # fmt: skip


def turn(loop: WorkerLoop) -> None:
    """Let the loop take a step that looks for jobs, and not sleep."""
    loop.timer.look()
    loop.queues.read_again()
    loop.wakeup.waker.wake()
    loop.turn()


def run_waiting(loop: WorkerLoop) -> int:
    """Run the jobs of the buffer; return how many there were."""
    number = 0
    while claimed := loop.buffer.take(1, wait=False):
        loop.buffer.end(1, execute(claimed, Environment()))
        number += 1
    return number


def test_worker_claims_again_what_a_crash_lost(server: Server) -> None:
    def scenario() -> None:
        worker = a_worker()
        loop = a_loop(worker, pool="threads", slots=4)
        jobs.add.delay(1, 2)
        server.stop_writing()
        turn(loop)
        running = loop.buffer.take(0, wait=False)
        assert running is not None
        assert server.jobs() == [("STARTED", 1, worker.pk)]
        server.crash()
        assert server.jobs() == [("PENDING", 0, None)]
        for _ in range(3):  # the first one finds out that the connection is gone
            turn(loop)
        # Without the first claim's number it would be here twice, with one fencing token.
        assert run_waiting(loop) == 0
        assert server.jobs() == [("STARTED", 1, worker.pk)]
        loop.buffer.end(0, execute(running, Environment()))
        turn(loop)
        assert server.jobs() == [("SUCCESS", 1, worker.pk)]
        loop.wakeup.waker.close()

    server.use(scenario)


def test_outcome_of_a_lost_claim_is_recorded_once(server: Server) -> None:
    def scenario() -> None:
        worker = a_worker()
        loop = a_loop(worker, pool="threads", slots=4)
        jobs.add.delay(1, 2)
        server.stop_writing()
        turn(loop)
        assert run_waiting(loop) == 1
        server.crash()
        assert server.jobs() == [("PENDING", 0, None)]
        for _ in range(2):  # the first one finds out that the connection is gone
            turn(loop)
        assert run_waiting(loop) == 0
        assert server.jobs() == [("SUCCESS", 1, worker.pk)]
        loop.wakeup.waker.close()

    server.use(scenario)


# --- what no crash loses ------------------------------------------------------------------------


@job(acks_late=False, name="tests.crash.once")
def once() -> None: ...


@job(concurrency=1, name="tests.crash.limited")
def limited() -> None: ...


def enqueue() -> None:
    jobs.add.delay(1)


def enqueue_where_the_flush_is_refused() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "_FLUSH", b"SELECT 1 / (random() * 0)::int")
        jobs.add.delay(1)
    assert "default" in direct._CANNOT_FLUSH
    direct._CANNOT_FLUSH.clear()


def record_outcome() -> None:
    loop = a_loop(Worker.objects.get(), pool="threads", slots=4)
    turn(loop)
    run_waiting(loop)
    turn(loop)
    loop.wakeup.waker.close()


def take_permit() -> None:
    loop = a_loop(Worker.objects.get(), pool="threads", slots=4)
    turn(loop)
    loop.wakeup.waker.close()


def claim_what_must_not_run_twice() -> None:
    claim(Worker.objects.get().pk, ["default"], 1, "default")


def fire_tick() -> None:
    schedule = Schedule.objects.create(
        name="s", job_name="tests.jobs.add", args=[1], kind="interval", interval_seconds=3600
    )
    plan("default", [schedule.pk])
    Schedule.objects.update(next_run_at=clock("default", -1))
    assert fire_due("default") == 1


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        (None, enqueue, ("PENDING", 0)),
        (None, enqueue_where_the_flush_is_refused, ("PENDING", 0)),
        (enqueue, record_outcome, ("SUCCESS", 1)),
        (limited.delay, take_permit, ("STARTED", 1)),
        (once.delay, claim_what_must_not_run_twice, ("STARTED", 1)),
        (None, fire_tick, ("PENDING", 0)),
    ],
)
def test_crash_loses_nothing_else(
    server: Server, before: Any, action: Callable[[], None], after: tuple[str, int]
) -> None:
    def scenario() -> None:
        a_worker()
        if before is not None:
            before()
        server.stop_writing()
        action()
        server.crash()

    server.use(scenario)
    assert [row[:2] for row in server.jobs()] == [after]
