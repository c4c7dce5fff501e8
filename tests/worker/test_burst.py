"""A burst ends when nothing is ready, and not before."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_jobs.maintenance import promote
from django_jobs.metrics.collector import Collector
from django_jobs.models import Job, Limit, Worker
from django_jobs.process.wakeup import Waker, Wakeup
from django_jobs.status import Status
from django_jobs.values import Claimed, Outcome
from django_jobs.worker.buffer import Desk
from django_jobs.worker.keeper import Keeper
from django_jobs.worker.options import WorkerOptions
from tests import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def keeper(worker: Worker) -> Iterator[Keeper]:
    def nothing(*_: Any) -> None:
        pass

    wakeup = Wakeup("default", Waker())
    keeper = Keeper(
        worker.pk,
        WorkerOptions(burst=True),
        Desk(nothing, None),
        wakeup,
        Collector(),
        on_topic=nothing,
        on_put=nothing,
        on_database_error=nothing,
    )
    yield keeper
    wakeup.waker.close()


def step(keeper: Keeper) -> None:
    """Do one step without the pause before it."""
    keeper._look_at = 0.0
    keeper.step()


def end_jobs(keeper: Keeper) -> None:
    while (job := keeper.desk.take(0, wait=False)) is not None:
        keeper.desk.end(0, Outcome(job, Status.SUCCESS, began=0.0, ended=0.0))


def finish(keeper: Keeper) -> list[str]:
    """Step until the burst ends; return the arguments of what ran."""
    for _ in range(50):
        if keeper.stopping:
            break
        step(keeper)
        end_jobs(keeper)
    assert keeper.stopping
    return sorted(Job.objects.filter(status=Status.SUCCESS).values_list("args", flat=True))


def an_hour_ago() -> datetime.datetime:
    return timezone.now() - datetime.timedelta(hours=1)


def test_burst_runs_what_is_due_and_was_promoted_by_nobody(keeper: Keeper) -> None:
    jobs.add.apply_async((1,), eta=an_hour_ago())
    jobs.add.apply_async((2,), eta=an_hour_ago())
    Job.objects.filter(args=[2]).update(status=Status.RETRY)
    jobs.add.apply_async((3,), countdown=3600)
    assert finish(keeper) == [[1], [2]]
    assert Job.objects.get(args=[3]).status == Status.SCHEDULED


def test_burst_runs_more_than_one_batch_that_is_due(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promote, "BATCH", 2)
    jobs.add.delay_many([(n,) for n in range(5)], eta=an_hour_ago())
    assert finish(keeper) == [[n] for n in range(5)]


def between(keeper: Keeper, monkeypatch: pytest.MonkeyPatch, event: Callable[[], Any]) -> None:
    """Let *event* happen once, right after the first claim that found nothing."""
    claim = keeper._claimer.claim
    events = [event]

    def claim_then(*arguments: Any) -> tuple[list[Claimed], bool]:
        found, contended = claim(*arguments)
        if not found and events:
            events.pop()()
        return found, contended

    monkeypatch.setattr(keeper._claimer, "claim", claim_then)
    keeper._queues.add("default")
    monkeypatch.setattr(keeper, "_may_have_work", lambda: True)


def test_burst_runs_what_a_duty_promoted_after_its_last_claim(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.add.apply_async((1,), eta=an_hour_ago())
    between(keeper, monkeypatch, lambda: promote.run_once("default"))
    assert finish(keeper) == [[1]]


def test_burst_runs_what_became_ready_after_its_last_claim(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.add.delay(1)
    Job.objects.update(status=Status.WAITING, pending_parents=1)
    ready = Job.objects.filter(status=Status.WAITING)
    between(keeper, monkeypatch, lambda: ready.update(status=Status.PENDING, pending_parents=0))
    assert finish(keeper) == [[1]]


def test_burst_runs_what_came_to_a_queue_that_it_did_not_know(keeper: Keeper) -> None:
    jobs.add.delay(1)
    step(keeper)
    jobs.add.apply_async((2,), queue="another")
    end_jobs(keeper)
    assert finish(keeper) == [[1], [2]]


@pytest.mark.parametrize("raised", [True, False])
def test_burst_runs_what_a_limit_has_room_for(keeper: Keeper, raised: bool) -> None:
    Limit.objects.create(key="job:tests.jobs.add", concurrency=1)
    jobs.add.delay_many([(1,), (2,), (3,)])
    keeper.desk.run_seconds = 0.001  # short jobs: all are claimed at once
    step(keeper)
    assert Job.objects.filter(status=Status.WAITING).count() == 2
    if raised:
        Limit.objects.update(concurrency=5)
    else:
        Limit.objects.all().delete()
    Job.objects.filter(status=Status.STARTED).update(status=Status.SUCCESS)  # by hand
    end_jobs(keeper)
    assert finish(keeper) == [[1], [2], [3]]


@pytest.mark.django_db(transaction=True)
def test_burst_waits_for_what_is_due_and_locked(keeper: Keeper) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite locks the file")
    jobs.add.apply_async((1,), eta=an_hour_ago())
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT id FROM django_jobs_job FOR UPDATE")
        for _ in range(5):
            step(keeper)
        assert not keeper.stopping
    finally:
        other.close()
    assert finish(keeper) == [[1]]
