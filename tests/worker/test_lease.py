"""A worker judges other workers' leases only after all had time to renew theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_jobs.db import clock as database_clock
from django_jobs.ids import uuid7
from django_jobs.maintenance.rescue import clean_up_after
from django_jobs.models import Worker
from django_jobs.worker.options import WorkerOptions
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
    monkeypatch.setattr("django_jobs.worker.lease.unix_time", database)
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


def test_worker_judges_nobody_before_it_is_registered_and_others_had_time(
    process, rescues, clock
) -> None:
    assert process.lease.rescue() == LOOK
    process.lease.begin()
    assert process.lease.rescue() == LOOK
    # It looks again as soon as it may, not a whole period later.
    clock.advance(LOOK - 3)
    assert process.lease.rescue() == pytest.approx(3)
    assert rescues == []
    clock.advance(3)
    process.lease.rescue()
    assert rescues == ["default"]


def test_worker_that_could_not_renew_its_lease_judges_nobody_until_all_had_time(
    process, rescues, clock
) -> None:
    process.lease.begin()
    clock.advance(31)
    process.lease.rescue()
    process.lease.renew()
    process.lease.rescue()
    assert rescues == []
    clock.advance(LOOK)
    process.lease.rescue()
    assert rescues == ["default"]


def test_worker_judges_nobody_after_a_jump_of_the_databases_clock_until_all_had_time(
    process, new_worker, clock, database
) -> None:
    process.lease.begin()
    live, dead = new_worker(), new_worker()
    clock.advance(LOOK)
    process.lease.rescue()
    process.heartbeat.run_due()
    # The clock jumps by an hour, so the leases stay behind by an hour.
    Worker.objects.update(lease_until=database_clock("default", 60 - 3600))
    database.ahead += 3600
    assert process.lease.rescue() == LOOK
    assert process.heartbeat.run_due() > 5  # it renews its own lease at once
    assert Worker.objects.filter(pk=process.worker_id, lease_until__gt=database_clock("default"))
    assert process.lease.rescue() is not None
    assert not Worker.objects.exclude(lost_at=None).exists()
    presence_of(live).beat()
    clock.advance(LOOK)
    process.lease.rescue()
    assert Worker.objects.exclude(lost_at=None).get() == dead


@pytest.mark.parametrize("step", [5, -3600])
def test_small_step_or_a_step_back_of_the_databases_clock_holds_no_rescue_up(
    process, rescues, clock, database, step
) -> None:
    process.lease.begin()
    clock.advance(LOOK)
    process.lease.rescue()
    database.ahead += step
    process.lease.rescue()
    assert rescues == ["default"] * 2


def test_worker_that_lost_its_lease_goes_on_under_a_new_id(process) -> None:
    process.lease.begin()
    first = process.worker_id
    Worker.objects.update(lost_at=database_clock("default"))
    process.lease.renew()
    assert process.worker_id != first
    assert Worker.objects.live().get().pk == process.worker_id


@pytest.mark.parametrize("ending", ["its own", "by another"])
def test_renewal_that_comes_after_the_end_starts_no_new_lease(process, ending) -> None:
    process.lease.begin()
    if ending == "its own":
        process.lease.end()
    else:
        dead = process.abandon()
        clean_up_after(dead.worker_id, dead.running, "default", cold=True)
    process.lease.renew()
    assert Worker.objects.get().stopped_at is not None
