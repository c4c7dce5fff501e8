"""A worker's row, from its registration to its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_jobs.db import clock
from django_jobs.ids import uuid7
from django_jobs.models import Worker
from django_jobs.process import heartbeat
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.shared_slots import Board
from django_jobs.worker.worker import WorkerProcess

pytestmark = pytest.mark.django_db


def test_registering_again_after_a_lost_answer_is_no_error() -> None:
    worker_id = uuid7()
    heartbeat.register(worker_id, "w", "default", pool="prefork")
    heartbeat.register(worker_id, "w", "default", pool="prefork")
    assert Worker.objects.live().get().pk == worker_id


def test_beat_of_a_worker_that_was_taken_for_dead_says_so() -> None:
    worker_id = uuid7()
    heartbeat.register(worker_id, "w", "default", pool="prefork")
    assert heartbeat.beat(worker_id, "default", busy=1, done=2) is True
    Worker.objects.update(lost_at=Worker.objects.get().started_at)
    assert heartbeat.beat(worker_id, "default", busy=1, done=2) is False
    assert Worker.objects.get().jobs_done == 2


# --- who judges others --------------------------------------------------------------------------


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    """A worker process that is registered; its ``rescues`` counts."""
    process = WorkerProcess(WorkerOptions(), uuid7(), 0, Board(1), line=None)
    process.rescues = []

    def run_once(using: str) -> int:
        process.rescues.append(using)
        return 0

    monkeypatch.setattr("django_jobs.maintenance.rescue.run_once", run_once)
    yield process
    process.waker.close()


def test_worker_judges_nobody_before_it_is_registered_and_others_had_time(process) -> None:
    assert process._rescue() == 15
    process._register()
    # It looks again as soon as it may, not a whole period later.
    assert 1 <= process._rescue() <= 15
    process._judges_from -= 12
    assert 1 <= process._rescue() <= 3
    process._judges_from += 12
    assert process.rescues == []
    process._judges_from -= 15
    process._rescue()
    assert process.rescues == ["default"]


def test_worker_that_could_not_renew_its_lease_judges_nobody_until_all_had_time(process) -> None:
    process._register()
    process._judges_from -= 15
    process._beaten -= 31  # seconds, of a lease of 60
    process._rescue()
    process._beat()
    process._rescue()
    assert process.rescues == []
    process._judges_from -= 15
    process._rescue()
    assert process.rescues == ["default"]


def test_worker_judges_nobody_after_a_jump_of_the_databases_clock_until_all_had_time(
    process, new_worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    process._register()
    live, dead = new_worker(), new_worker()
    process._judges_from -= 15
    process._rescue()
    # The clock jumps by an hour: so the leases, and what the worker knows, stay behind by an hour.
    Worker.objects.update(lease_until=clock("default", 60 - 3600))
    process._ahead -= 3600
    assert 1 <= process._rescue() <= 15
    assert process.heart.run_due() > 5
    assert process._rescue() is not None
    assert not Worker.objects.exclude(lost_at=None).exists()
    heartbeat.beat(live.pk, "default", busy=0, done=0)
    process._judges_from -= 15
    process._rescue()
    assert Worker.objects.exclude(lost_at=None).get() == dead


def test_small_step_of_the_databases_clock_holds_no_rescue_up(process) -> None:
    process._register()
    process._judges_from -= 15
    process._rescue()
    process._ahead -= 5
    process._rescue()
    process._ahead += 3600
    process._rescue()
    assert process.rescues == ["default"] * 3
