"""What only a lock, a conflict or a connection that breaks brings about."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs.beat import fire
from django_jobs.db import clock, mysql, reconnect
from django_jobs.ids import uuid7
from django_jobs.locking import limits_locked
from django_jobs.maintenance import prune_limits
from django_jobs.models import Job, LimitLock, Permit, Schedule, Worker
from django_jobs.process.presence import Presence
from django_jobs.process.timers import Timer, Timers
from django_jobs.run import record as record_module
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.schedules import planning
from tests.races import Aside, held
from tests.waiting import LONG
from tests.workflows.jobs import add, fail, total

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("switching")]


@pytest.fixture
def locks(vendor: str) -> None:
    if vendor == "sqlite":
        pytest.skip("SQLite locks the file, and no row")


# --- schedules that another beat has ------------------------------------------------------------


def schedules(number: int) -> list[Schedule]:
    for n in range(number):
        Schedule.objects.create(
            name=f"s{n}", job_name=add.name, args=[n], kind="interval", interval_seconds=3600
        )
    planning.plan("default")
    Schedule.objects.update(next_run_at=clock("default", -1))
    return list(Schedule.objects.order_by("name"))


def lock(model: Any, **which: Any) -> Callable[[], Any]:
    return lambda: list(model.objects.select_for_update().filter(**which).values_list("pk"))


def test_schedule_that_another_beat_has_locked_is_left_to_it(locks: None) -> None:
    first, second = schedules(2)
    with held(lock(Schedule, pk=first.pk)):
        assert fire.fire_due("default") == 1
        assert [job.args for job in Job.objects.all()] == [[1]]
        assert fire.fire_due("default") == 0
    assert fire.fire_due("default") == 1
    assert sorted(Job.objects.values_list("schedule_id", flat=True)) == [first.pk, second.pk]
    assert fire.fire_due("default") == 0


def test_schedule_that_another_beat_plans_is_left_to_it(locks: None) -> None:
    first, second = schedules(2)
    Schedule.objects.update(next_run_at=None)
    with held(lock(Schedule, pk=first.pk)):
        planning.plan("default")
        planned = Schedule.objects.filter(next_run_at__isnull=False)
        assert list(planned.values_list("pk", flat=True)) == [second.pk]
    planning.plan("default")
    assert planned.count() == 2


# --- locks of limits ----------------------------------------------------------------------------


@pytest.fixture
def three_locks() -> Iterator[list[str]]:
    keys = ["job:a", "job:b", "job:c"]
    LimitLock.objects.bulk_create([LimitLock(key=key) for key in keys])
    prune_limits._last.clear()
    yield keys
    prune_limits._last.clear()


def left() -> list[str]:
    return list(LimitLock.objects.order_by("key").values_list("key", flat=True))


def test_locks_are_pruned_batch_by_batch(
    three_locks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune_limits, "BATCH", 2)
    assert prune_limits.run_once("default") == 2
    assert left() == three_locks[2:]
    assert prune_limits.run_once("default") == 1
    assert prune_limits.run_once("default") == 0


def test_lock_that_somebody_has_locked_stays(locks: None, three_locks: list[str]) -> None:
    with held(lock(LimitLock, key="job:b")):
        assert prune_limits.run_once("default") == 2
        assert left() == ["job:b"]
    assert prune_limits.run_once("default") == 1


def test_lock_that_is_taken_between_the_look_and_the_lock_stays(
    three_locks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = prune_limits._unused
    job_id = add.delay(1).uuid

    def then_taken(keys: list[str], using: str) -> Any:
        found = list(unused(keys, using).values_list("key", flat=True))
        if not Permit.objects.exists():
            Job.objects.filter(id=job_id).update(status="STARTED", claims=1)
            Permit.objects.create(key="job:b", job_id=job_id, claims=1)
            return LimitLock.objects.filter(key__in=found)
        return unused(keys, using)

    monkeypatch.setattr(prune_limits, "_unused", then_taken)
    assert prune_limits.run_once("default") == 2
    assert left() == ["job:b"]


def test_lock_of_a_limit_is_written_where_servers_compare_only_writes(
    vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if vendor != "mysql":
        pytest.skip("Galera replicates MariaDB")
    monkeypatch.setitem(mysql._GALERA, "default", True)
    LimitLock.objects.create(key="job:a")
    with CaptureQueriesContext(connection) as asked, limits_locked(["job:a"], "default"):
        pass
    written = [query["sql"].split()[0] for query in asked if "limitlock" in query["sql"]]
    assert written == ["SELECT", "DELETE", "INSERT"]
    assert left() == ["job:a"]


# --- a deadlock amid what depends on a job ------------------------------------------------------


def is_waiting(pid: int) -> bool:
    """Tell whether that session of PostgreSQL waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", [pid])
        return cursor.fetchone() is not None


@pytest.mark.parametrize("failing", [False, True])
def test_end_that_falls_victim_to_a_deadlock_is_recorded_again(
    locks: None,
    worker: Worker,
    take: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[..., None],
    failing: bool,
) -> None:
    chain = (fail.s() if failing else add.s(1)) | add.s(2)
    chain.apply_async()
    (claimed,) = take()
    child = Job.objects.get(status="WAITING").pk
    wrote, locked = threading.Event(), threading.Event()
    wake_dependents = record_module.wake_dependents
    calls: list[int] = []
    pids: list[int] = []

    def met(*arguments: Any) -> set[str]:
        calls.append(1)
        if not wrote.is_set():
            wrote.set()
            # This session looks for a deadlock once, a second after it began to wait.
            until(lambda: connection.vendor != "postgresql" or is_waiting(*pids))
        return wake_dependents(*arguments)

    def the_other_way_round() -> None:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                # Only who notices a deadlock is its victim.
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL deadlock_timeout = '1h'")
                    cursor.execute("SELECT pg_backend_pid()")
                    pids.extend(cursor.fetchone())
            else:
                # The victim is who has written least.
                LimitLock.objects.bulk_create([LimitLock(key=f"k{n}") for n in range(200)])
            lock(Job, pk=child)()
            locked.set()
            assert wrote.wait(LONG)
            lock(Job, pk=claimed.id)()

    other = Aside(the_other_way_round)
    assert locked.wait(LONG)
    monkeypatch.setattr(record_module, "wake_dependents", met)
    outcome = execute(claimed, Environment())
    assert record(worker.pk, [outcome], "default") == [outcome]
    other.result()
    assert len(calls) >= 2
    row = Job.objects.get(pk=child)
    if failing:
        assert row.status == "FAILURE"
    else:
        assert (row.status, row.pending_parents) == ("PENDING", 0)
    assert Job.objects.get(pk=claimed.id).status == ("FAILURE" if failing else "SUCCESS")
    assert Job.objects.get(pk=claimed.id).attempts.count() == (1 if failing else 0)


# --- a COMMIT whose answer is lost ----------------------------------------------------------------


@pytest.mark.parametrize("failing", [False, True])
def test_end_that_was_committed_is_told_on_once_when_it_is_recorded_again(
    worker: Worker, take: Callable[..., Any], failing: bool
) -> None:
    whole = (fail.s() if failing else add.s(1)).set(link_error=total.si([1])) | add.s(2)
    whole.apply_async()
    (claimed,) = take()
    outcome = execute(claimed, Environment())
    # The first answer is lost; the caller knows nothing of it and says the same again.
    record(worker.pk, [outcome], "default")
    before = rows()
    heard: list[str] = []
    assert record(worker.pk, [outcome], "default", on_ready=heard.append) == [outcome]
    assert rows() == before
    assert heard == []
    assert Job.objects.filter(name=total.name).count() == (1 if failing else 0)
    assert Job.objects.get(pk=claimed.id).attempts.count() == (1 if failing else 0)


def rows() -> list[tuple[Any, ...]]:
    return list(Job.objects.order_by("pk").values_list("pk", "status", "pending_parents", "claims"))


# --- timers -------------------------------------------------------------------------------------


def break_connection() -> None:
    """Close the connection below Django, as when the server goes away."""
    connection.ensure_connection()
    connections["default"].connection.close()


def test_heartbeat_is_late_and_not_lost_when_its_connection_breaks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "django_jobs")
    # A worker's own connections are not replaced before their next statement.
    monkeypatch.delitem(vars(connections["default"]), reconnect.HOOK, raising=False)
    presence = Presence(
        uuid7(), "w", "default", columns=lambda: {"pool": "prefork"}, load=lambda: (1, 0)
    )
    presence.register()
    Worker.objects.update(heartbeat_at=timezone.now() - datetime.timedelta(hours=1))
    ran: list[str] = []

    def beat() -> None:
        if not ran:
            ran.append("broken")
            break_connection()
        presence.beat()
        ran.append("beat")

    timers = Timers(
        [Timer("heartbeat", 60.0, beat), Timer("parent", 60.0, lambda: ran.append("parent"))],
        "default",
    )
    assert 0 < timers.run_due() <= 1
    assert ran == ["broken", "parent"]
    assert "while=heartbeat next_try=" in caplog.text
    timers.ask("heartbeat")
    assert timers.run_due() > 5
    assert ran == ["broken", "parent", "beat"]
    assert "database back while=heartbeat" in caplog.text
    assert Worker.objects.get().busy == 1


def test_timer_that_fails_again_waits_longer_each_time_up_to_a_limit() -> None:
    def fail() -> None:
        raise OperationalError("away")

    timer = Timer("prune", 60.0, fail)
    timers = Timers([timer], "default")
    pauses = []
    for _ in range(8):
        timer.due = 0.0
        pauses.append(timers.run_due())
    assert 0 < pauses[0] < pauses[1] < pauses[2]
    assert 2.5 <= pauses[-2] <= 5
    assert 2.5 <= pauses[-1] <= 5
