"""The answer to a worker's write is lost: before its effect, after it, or long before it comes.

Each test plays a cell of the table in ``docs/reliability.rst``.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import Error, connection, connections, transaction
from django.utils import timezone

from django_jobs.beat.fire import fire_due
from django_jobs.db import clock
from django_jobs.maintenance import promote, rescue
from django_jobs.models import Attempt, Job, Schedule, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.release import release_strays
from django_jobs.status import Status
from django_jobs.worker.loop import WorkerLoop
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.releaser import RELEASE_SECONDS
from tests import jobs
from tests.proxy import Proxy, through
from tests.worker.parts import presence_of

pytestmark = pytest.mark.django_db(transaction=True)

WHEN = pytest.mark.parametrize("when", ["before", "after", "late"])


@pytest.fixture
def proxy(vendor: str) -> Iterator[Proxy]:
    if vendor == "sqlite":
        pytest.skip("no network is between a worker and SQLite")
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def loop(new_loop: Callable[..., WorkerLoop]) -> WorkerLoop:
    return new_loop(pool="threads", slots=4)


def turn(loop: WorkerLoop) -> None:
    """Let the loop do one step, and look at once whether there is work."""
    loop.timer.look()
    loop.queues.read_again()
    loop.wakeup.waker.wake()  # it need not sleep after an error
    loop.turn()


def look_again(loop: WorkerLoop) -> None:
    """Let the time pass until the loop looks for what an uncertain claim left."""
    assert loop.strays.due_at < float("inf")
    loop.strays.due_at = 0.0
    turn(loop)


def wait_for_the_rollback() -> None:
    """Wait until the server has ended the lost session: who skips locked rows would miss its."""
    with transaction.atomic():
        for model in (Job, Worker, Schedule):
            list(model.objects.select_for_update().values_list("pk"))


def statement(vendor: str, of_transaction: str) -> str:
    """Return what marks the message that makes a write count: MariaDB commits a claim apart."""
    return "COMMIT" if vendor == "mysql" else of_transaction


def assert_held_or_ready(loop: WorkerLoop) -> None:
    """No job is STARTED that the worker does not have."""
    held = loop.buffer.held()
    for job in Job.objects.filter(worker_id=loop.state.worker_id, status=Status.STARTED):
        assert (job.pk, job.claims) in held


# --- claim --------------------------------------------------------------------------------------


@WHEN
def test_claim(loop: WorkerLoop, proxy: Proxy, vendor: str, when: str) -> None:
    result = jobs.add.delay(1, 2)
    with through(proxy):
        turn(loop)
        loop.buffer.withdraw()
        Job.objects.update(status=Status.PENDING, worker_id=None)
        proxy.lose(statement(vendor, "SET status = 'STARTED'"), when)
        turn(loop)
        assert proxy.lost.is_set()
        assert loop.buffer.held() == set()
        loop.state.options = WorkerOptions(quiet=True)
        turn(loop)
        if when == "late":
            assert result.status == "PENDING"
            proxy.deliver()
            assert result.status == "STARTED"
            look_again(loop)
        assert result.status == "PENDING"
        wait_for_the_rollback()
        loop.state.options = WorkerOptions()
        turn(loop)
        assert result.status == "STARTED"
        look_again(loop)
    assert result.job.crashes == 0
    assert_held_or_ready(loop)
    assert len(loop.buffer.held()) == 1


def test_loop_without_an_error_never_looks_for_strays(loop: WorkerLoop) -> None:
    turn(loop)
    assert loop.strays.due_at == float("inf")


def waits_for_a_lock() -> bool:
    """Tell whether some session of this database waits for an advisory lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE NOT granted AND locktype = 'advisory' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


@pytest.fixture
def hung_claim(
    worker: Worker, proxy: Proxy, vendor: str, until: Callable[..., None]
) -> Iterator[Callable[[], None]]:
    """A claim of three jobs whose transaction stays open; the worker's process is gone.

    Yields what lets the transaction end.
    """
    jobs.add.delay_many([(1,), (2,), (3,)])
    if vendor == "mysql":
        # The message with COMMIT is on its way.
        with through(proxy):
            proxy.lose("COMMIT", "late")
            with pytest.raises(Error):
                claim(worker.pk, ["default"], 3, "default")
        yield proxy.deliver
        return
    # COMMIT itself waits, as it does for a standby that stalls.
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END'"
        )
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER hang AFTER UPDATE ON django_jobs_job "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            "WHEN (NEW.status = 'STARTED') EXECUTE FUNCTION hang()"
        )
        cursor.execute("SELECT pg_advisory_lock(4711)")
    with through(proxy):
        proxy.lose("SET status = 'STARTED'", "late")
        with pytest.raises(Error):
            claim(worker.pk, ["default"], 3, "default")
    committing = threading.Thread(target=proxy.deliver)
    committing.start()
    until(waits_for_a_lock)

    def end() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(4711)")
        committing.join(30)

    try:
        yield end
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")
            committing.join(30)
            cursor.execute("DROP FUNCTION hang CASCADE")


@pytest.mark.parametrize("clean_up", ["clean_up_after", "sign_off"])
def test_clean_up_waits_for_a_claim_under_way(
    hung_claim: Callable[[], None], worker: Worker, clean_up: str
) -> None:
    done = threading.Event()

    def clean() -> None:
        try:
            if clean_up == "clean_up_after":
                rescue.clean_up_after(worker.pk, {}, "default", cold=True)
            else:
                presence_of(worker).sign_off()
        finally:
            done.set()
            connections.close_all()

    thread = threading.Thread(target=clean)
    thread.start()
    # A clean-up that looks once, and does not wait, is done by then.
    assert not done.wait(0.5)
    hung_claim()
    thread.join(60)
    assert done.is_set()
    assert set(Job.objects.values_list("status", "crashes")) == {("PENDING", 0)}
    worker.refresh_from_db()
    assert (worker.stopped_at is not None, worker.lost_at) == (True, None)


@pytest.mark.parametrize("clean_up", ["clean_up_after", "sign_off"])
def test_claim_that_arrives_after_the_worker_s_end_takes_nothing(
    worker: Worker, proxy: Proxy, vendor: str, clean_up: str
) -> None:
    results = jobs.add.delay_many([(1,), (2,)])
    # Of MariaDB's claim the last message that can come late is the one with the UPDATE.
    first = "FOR UPDATE SKIP LOCKED" if vendor == "mysql" else "SET status = 'STARTED'"
    with through(proxy):
        proxy.lose(first, "late")
        with pytest.raises(Error):
            claim(worker.pk, ["default"], 3, "default")
    if clean_up == "clean_up_after":
        rescue.clean_up_after(worker.pk, {}, "default")
    else:
        presence_of(worker).sign_off()
    proxy.deliver()
    assert {result.status for result in results} == {"PENDING"}


def test_job_that_a_stopped_worker_still_has_goes_back_without_blame(
    worker: Worker, take: Callable[..., list[Any]]
) -> None:
    result = jobs.add.delay(1)
    take()
    Worker.objects.update(stopped_at=clock("default"), lease_until=clock("default"))
    assert rescue.run_once("default") == 1
    assert (result.status, result.job.crashes) == ("PENDING", 0)
    assert not Attempt.objects.exists()


def test_worker_whose_lease_runs_out_amid_a_rescue_keeps_its_jobs_until_it_is_marked(
    worker: Worker, take: Callable[..., list[Any]]
) -> None:
    result = jobs.add.delay(1)
    take()
    ours = Worker.objects.filter(pk=worker.pk)

    def lease_runs_out(execute: Any, sql: str, *args: Any) -> Any:
        done = execute(sql, *args)
        if sql.startswith("UPDATE") and "lost_at" in sql.partition("WHERE")[0]:
            ours.update(lease_until=clock("default", -1))
        return done

    with connection.execute_wrapper(lease_runs_out):
        assert rescue.run_once("default") == 0
    assert result.status == "STARTED"
    assert not ours.filter(lease_until__gt=clock("default")).exists()
    assert presence_of(worker).beat()
    ours.update(lease_until=clock("default", -1))
    assert rescue.run_once("default") == 1
    assert not presence_of(worker).beat()


def test_clock_of_the_rescuing_host_does_not_matter(
    worker: Worker, take: Callable[..., list[Any]], vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if vendor == "sqlite":
        return  # SQLite uses the host's clock
    result = jobs.add.delay(1)
    take()
    ahead = timezone.now() + datetime.timedelta(hours=2)
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    assert rescue.run_once("default") == 0
    assert result.status == "STARTED"


def test_claim_that_finds_nothing_locks_nothing(worker: Worker, vendor: str) -> None:
    if vendor == "postgresql":
        for queues in (["default"], ["default", "other"]):
            with transaction.atomic(), connection.cursor() as cursor:
                assert claim(worker.pk, queues, 5, "default") == ([], False)
                cursor.execute("SELECT pg_current_xact_id_if_assigned()")
                assert cursor.fetchone()[0] is None


# --- record -------------------------------------------------------------------------------------


@WHEN
@pytest.mark.parametrize("function", [jobs.add, jobs.fail])
def test_record(loop: WorkerLoop, proxy: Proxy, when: str, function: Any) -> None:
    result = function.delay(1)
    with through(proxy):
        turn(loop)
        job = loop.buffer.take(0, wait=False)
        assert job is not None
        loop.buffer.end(0, execute(job, Environment()))
        loop.state.options = WorkerOptions(quiet=True)
        ended = "SUCCESS" if function is jobs.add else "FAILURE"
        # A failure is a transaction: its attempt is kept, too.
        proxy.lose("status = 'SUCCESS'" if ended == "SUCCESS" else "COMMIT", when)
        if ended == "SUCCESS" and connection.vendor == "mysql":
            proxy.lose("UPDATE (SELECT", when)
        turn(loop)
        assert proxy.lost.is_set()
        assert len(loop.buffer.held()) == 1
        second = threading.Thread(target=lambda: when == "late" and proxy.deliver())
        if ended == "SUCCESS":
            # It arrives after the worker has written the outcome once more.
            turn(loop)
            second.start()
        else:
            # The first transaction holds the row until then.
            second.start()
            turn(loop)
        second.join(30)
        turn(loop)
    assert result.status == ended
    assert loop.buffer.held() == set()
    assert Attempt.objects.count() == (ended == "FAILURE")
    # The minute may change between the claim and the end.
    tallies = [tally for minute in loop.collector.drain().values() for tally in minute.values()]
    assert sum(tally.succeeded for tally in tallies) == (ended == "SUCCESS")
    assert sum(tally.failed for tally in tallies) == (ended == "FAILURE")


# --- release ------------------------------------------------------------------------------------


@WHEN
def test_release(
    loop: WorkerLoop, proxy: Proxy, new_worker: Callable[..., Worker], vendor: str, when: str
) -> None:
    result = jobs.add.delay(1)
    with through(proxy):
        turn(loop)
        loop.state.options = WorkerOptions(quiet=True)
        loop.buffer.last_move -= RELEASE_SECONDS
        proxy.lose("UPDATE (SELECT" if vendor == "mysql" else "SET status = new.status", when)
        turn(loop)
        assert proxy.lost.is_set()
        # Another worker may have it already.
        assert loop.buffer.take(0, wait=False) is None
        turn(loop)
        other = new_worker()
        assert len(claim(other.pk, ["default"], 1, "default")[0]) == 1
        if when == "late":
            proxy.deliver()
        look_again(loop)
    assert (result.status, result.job.worker_id, result.job.claims) == ("STARTED", other.pk, 2)
    assert result.job.crashes == 0


def test_stray_that_was_claimed_again_is_not_given_back_by_a_late_message(
    worker: Worker, take: Callable[..., list[Any]], proxy: Proxy
) -> None:
    result = jobs.add.delay(1)
    take()
    with through(proxy):
        proxy.lose("UPDATE", "late")
        with pytest.raises(Error):
            release_strays(worker.pk, (), "default")
    assert release_strays(worker.pk, (), "default") == 1
    take()
    proxy.deliver()
    assert (result.status, result.job.claims) == ("STARTED", 2)


# --- heartbeat ----------------------------------------------------------------------------------


@WHEN
def test_heartbeat(worker: Worker, proxy: Proxy, when: str) -> None:
    presence = presence_of(worker, done=3)
    with through(proxy):
        proxy.lose("UPDATE", when)
        with pytest.raises(Error):
            presence.beat()
        connections["default"].close()
        if when != "late":
            wait_for_the_rollback()
        assert presence.beat()
        if when == "late":
            proxy.deliver()
    worker.refresh_from_db()
    assert worker.jobs_done == 3


def test_heartbeat_that_arrives_after_the_end_does_not_revive_the_worker(
    worker: Worker, proxy: Proxy
) -> None:
    presence = presence_of(worker, done=3)
    with through(proxy):
        proxy.lose("UPDATE", "late")
        with pytest.raises(Error):
            presence.beat()
    presence.sign_off()
    ended = Worker.objects.values().get()
    proxy.deliver()
    assert Worker.objects.values().get() == ended


# --- rescue, promote, tick ----------------------------------------------------------------------


@WHEN
def test_rescue(
    new_worker: Callable[..., Worker], take: Callable[..., list[Any]], proxy: Proxy, when: str
) -> None:
    result = jobs.add.delay(1)
    dead = new_worker(lease_seconds=60)
    take(by=dead)
    Worker.objects.filter(pk=dead.pk).update(lease_until=clock("default", -1))
    repeat_when_lost(proxy, when, "COMMIT", lambda: rescue.run_once("default"))
    assert (result.status, result.job.crashes) == ("PENDING", 1)
    assert Attempt.objects.count() == 1


@WHEN
def test_promote(proxy: Proxy, when: str) -> None:
    result = jobs.add.apply_async((1,), countdown=60)
    Job.objects.update(run_at=clock("default", -1))
    repeat_when_lost(proxy, when, "COMMIT", lambda: promote.run_once("default"))
    assert (result.status, result.job.claims) == ("PENDING", 0)


@WHEN
def test_tick(proxy: Proxy, when: str) -> None:
    Schedule.objects.create(
        name="s", job_name=jobs.add.name, args=[1], kind="interval", interval_seconds=3600
    )
    Schedule.objects.update(next_run_at=clock("default", -1))
    repeat_when_lost(proxy, when, "COMMIT", lambda: fire_due("default"))
    assert Job.objects.count() == 1
    assert Schedule.objects.get().run_count == 1


def repeat_when_lost(proxy: Proxy, when: str, marker: str, action: Callable[[], object]) -> None:
    """Lose the answer to *action*, and repeat it until there is nothing more to do."""
    with through(proxy):
        proxy.lose(marker, when)
        with pytest.raises(Error):
            action()
        assert proxy.lost.is_set()
        connections["default"].close()
        if when != "late":
            wait_for_the_rollback()
        second = threading.Thread(target=lambda: when == "late" and proxy.deliver())
        second.start()
        action()
        second.join(30)
        action()
        assert not transaction.get_connection("default").in_atomic_block
