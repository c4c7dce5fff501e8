"""A coordinator renews leases, and judges others' only after all had time to renew theirs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from django_jobs.db import clock as database_clock
from django_jobs.ids import uuid7
from django_jobs.maintenance.rescue import clean_up_after
from django_jobs.models import Worker
from django_jobs.process.renewal import Sign
from django_jobs.worker.buffer import boot_time
from django_jobs.worker.leases import Leases
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.roster import Place, Roster
from django_jobs.worker.shared_slots import SharedSlots
from django_jobs.worker.worker import WorkerProcess
from tests.worker.parts import Clock, presence_of

pytestmark = pytest.mark.django_db

# Seconds: the lease is 60, and so long is one look for dead workers after the other.
LOOK = 15


class DatabaseClock:
    """The database's clock goes with this host's, until it jumps."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ahead = 1_000_000.0

    def __call__(self, using: str) -> float:
        return self.clock() + self.ahead


@pytest.fixture
def database(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> DatabaseClock:
    database = DatabaseClock(clock)
    monkeypatch.setattr("django_jobs.worker.leases.unix_time", database)
    return database


@pytest.fixture
def rescues(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each look at other workers' leases."""
    rescues: list[str] = []

    def run_once(using: str) -> int:
        rescues.append(using)
        return 0

    monkeypatch.setattr("django_jobs.maintenance.rescue.run_once", run_once)
    return rescues


@pytest.fixture
def process(clock: Clock, database: DatabaseClock) -> Iterator[WorkerProcess]:
    process = WorkerProcess(WorkerOptions(), uuid7(), 0, SharedSlots(1), channel=None, clock=clock)
    yield process
    process.waker.close()
    process.coordinator.waker.close()


@pytest.fixture
def leases(process: WorkerProcess) -> Leases:
    return process.coordinator.leases


def test_host_judges_nobody_before_it_has_renewed_its_leases_and_others_had_time(
    leases, rescues, clock
) -> None:
    assert leases.rescue() == LOOK
    leases.renew()
    assert leases.rescue() == LOOK
    # It looks again as soon as it may, not a whole period later.
    clock.advance(LOOK - 3)
    assert leases.rescue() == pytest.approx(3)
    assert rescues == []
    clock.advance(3)
    leases.rescue()
    assert rescues == ["default"]


def test_host_that_could_not_renew_its_leases_judges_nobody_until_all_had_time(
    leases, rescues, clock
) -> None:
    leases.renew()
    clock.advance(31)
    leases.rescue()
    leases.renew()
    leases.rescue()
    assert rescues == []
    clock.advance(LOOK)
    leases.rescue()
    assert rescues == ["default"]


def test_host_judges_nobody_after_a_jump_of_the_databases_clock_until_all_had_time(
    process, leases, new_worker, clock, database
) -> None:
    process.lease.begin()
    leases.renew()
    live, dead = new_worker(), new_worker()
    clock.advance(LOOK)
    leases.rescue()
    process.coordinator.heartbeat.run_due()
    # The clock jumps by an hour, so the leases stay behind by an hour.
    Worker.objects.update(lease_until=database_clock("default", 60 - 3600))
    database.ahead += 3600
    assert leases.rescue() == LOOK
    process.coordinator.heartbeat.run_due()  # it renews its own leases at once
    assert Worker.objects.filter(pk=process.worker_id, lease_until__gt=database_clock("default"))
    assert leases.rescue() is not None
    assert not Worker.objects.exclude(lost_at=None).exists()
    presence_of(live).beat()
    clock.advance(LOOK)
    leases.rescue()
    assert Worker.objects.exclude(lost_at=None).get() == dead


@pytest.mark.parametrize("step", [5, -3600])
def test_small_step_or_a_step_back_of_the_databases_clock_holds_no_rescue_up(
    leases, rescues, clock, database, step
) -> None:
    leases.renew()
    clock.advance(LOOK)
    leases.rescue()
    database.ahead += step
    leases.rescue()
    assert rescues == ["default"] * 2


def test_worker_that_lost_its_lease_goes_on_under_a_new_id(process, leases) -> None:
    process.lease.begin()
    first = process.worker_id
    Worker.objects.update(lost_at=database_clock("default"))
    leases.renew()
    assert process.worker_id == first
    process.lease.look()
    assert process.worker_id != first
    process.loop.step()
    assert Worker.objects.live().get().pk == process.worker_id
    leases.all_are_due = True
    leases.renew()
    process.lease.look()
    assert Worker.objects.count() == 2


@pytest.mark.parametrize("ending", ["its own", "by another"])
def test_renewal_that_comes_after_the_end_starts_no_new_lease(process, leases, ending) -> None:
    process.lease.begin()
    if ending == "its own":
        process.lease.end()
    else:
        dead = process.abandon()
        clean_up_after(dead.worker_id, dead.running, "default", cold=True)
    leases.renew()
    process.lease.look()
    assert Worker.objects.get().stopped_at is not None


# --- one transaction for all workers of a host --------------------------------------------------


def lease_of(place: Place, worker: Worker) -> float | None:
    return place.lease_of(worker.pk)


@pytest.fixture
def roster() -> Roster:
    return Roster(8)


def enter(roster: Roster, index: int, worker: Worker, **fields: Any) -> Place:
    place = roster.place(index)
    place.report(Sign(worker.pk, **{"seen_at": time.monotonic(), **fields}))
    place.enter(worker.pk)
    return place


def leases_of(roster: Roster, clock: Any = time.monotonic) -> Leases:
    return Leases(roster, "default", renew_soon=lambda: None, clock=clock)


def test_rows_show_what_each_worker_reports(roster, new_worker) -> None:
    workers = [new_worker(lease_seconds=5) for _ in range(3)]
    for index, worker in enumerate(workers):
        enter(roster, index, worker, busy=index, jobs_done=10 * index, memory_bytes=1 << 33)
    enter(roster, 1, workers[1], busy=7, stopping=True)
    leases_of(roster).renew()
    rows = Worker.objects.order_by("pk").values_list("busy", "jobs_done", "memory_bytes")
    assert list(rows) == [(0, 0, 1 << 33), (7, 0, None), (2, 20, 1 << 33)]
    stopping = Worker.objects.exclude(stopping_at=None)
    assert stopping.get() == workers[1]
    assert Worker.objects.filter(lease_until__gt=database_clock("default", 50)).count() == 3


def test_statements_do_not_grow_with_the_workers(
    roster, new_worker, django_assert_num_queries, vendor
) -> None:
    for index in range(8):
        enter(roster, index, new_worker(), busy=index % 2, memory_bytes=index)
    # The test stands in a transaction: a savepoint, the rows that are free, all of them, its end.
    with django_assert_num_queries(4):
        leases_of(roster).renew()


def test_row_has_the_past_hour_from_the_statement_that_renews_the_lease(
    roster, new_worker, clock, django_assert_num_queries
) -> None:
    workers = [new_worker() for _ in range(3)]
    for index, worker in enumerate(workers):
        enter(roster, index, worker, busy=index, memory_bytes=(index + 1) << 20)
    clock.advance(60 - clock() % 60)  # a minute begins
    leases = leases_of(roster, clock)
    leases.renew()
    roster.place(2).leave()
    Worker.objects.filter(pk=workers[2].pk).update(samples=[[7, 7]])
    for minute in range(70):
        clock.advance(60)
        if minute == 69:
            enter(roster, 2, workers[2])  # it is new here: its row keeps what it has
        with django_assert_num_queries(4):
            leases.renew()
    rows = Worker.objects.order_by("pk").values_list("samples", flat=True)
    assert list(rows) == [[[1, 0]] * 60, [[2, 1]] * 60, [[7, 7]]]
    Worker.objects.filter(pk=workers[0].pk).update(samples=[])
    clock.advance(20)
    leases.renew()
    # Between two minutes nothing is written.
    assert Worker.objects.values_list("samples", flat=True).get(pk=workers[0].pk) == []


def test_round_renews_all_and_the_looks_between_only_what_it_missed(
    roster, new_worker, clock, django_assert_num_queries
) -> None:
    worker = new_worker()
    enter(roster, 0, worker)
    leases = leases_of(roster, clock)
    leases.renew()
    clock.advance(5)
    with django_assert_num_queries(0):
        leases.renew()
    enter(roster, 0, worker, stopping=True)
    leases.renew()
    assert Worker.objects.get().stopping_at is not None
    with django_assert_num_queries(0):
        leases.renew()
    clock.advance(5)
    Worker.objects.update(lease_until=database_clock("default", 1))
    leases.renew()
    assert Worker.objects.get(lease_until__gt=database_clock("default", 50))


def test_process_without_a_sign_of_life_keeps_no_lease_and_gets_it_back_with_the_next_sign(
    roster, new_worker, clock
) -> None:
    silent, live = new_worker(lease_seconds=1), new_worker(lease_seconds=1)
    place = enter(roster, 0, silent, seen_at=time.monotonic() - 31)
    enter(roster, 1, live)
    leases = leases_of(roster, clock)
    leases.renew()
    renewed = Worker.objects.filter(lease_until__gt=database_clock("default", 50))
    assert renewed.get() == live
    assert lease_of(place, silent) is None
    enter(roster, 0, silent)
    leases.renew()
    assert renewed.count() == 2


def test_worker_may_start_jobs_until_its_lease_ends_counted_from_before_the_renewal(
    roster, new_worker, monkeypatch
) -> None:
    worker, other = new_worker(), new_worker()
    place = enter(roster, 0, worker)
    before = boot_time()

    def slow(signs: Any, using: str) -> Any:
        monkeypatch.setattr("django_jobs.worker.leases.boot_time", lambda: before + 50)
        return {worker.pk}, set()

    monkeypatch.setattr("django_jobs.worker.leases.boot_time", lambda: before)
    monkeypatch.setattr("django_jobs.worker.leases.renew", slow)
    leases_of(roster).renew()
    assert lease_of(place, worker) == pytest.approx(before + 60)
    assert lease_of(place, other) is None  # of the process that had the index before


def test_worker_that_left_is_not_renewed(roster, new_worker) -> None:
    worker = new_worker(lease_seconds=1)
    enter(roster, 3, worker).leave()
    leases_of(roster).renew()
    assert not Worker.objects.filter(lease_until__gt=database_clock("default", 50)).exists()


def test_roster_has_no_more_entries_than_it_has_room_for(roster) -> None:
    with pytest.raises(ValueError, match="at most 8 processes, not 9"):
        roster.place(8)
