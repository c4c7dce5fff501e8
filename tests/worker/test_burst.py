"""A burst ends when nothing is ready, and not before."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_jobs.db import dialect_for
from django_jobs.maintenance import promote
from django_jobs.models import Job, Limit
from django_jobs.status import Status
from django_jobs.values import Claimed, Outcome
from django_jobs.worker.loop import WorkerLoop
from tests import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def loop(new_loop: Callable[..., WorkerLoop]) -> WorkerLoop:
    return new_loop(burst=True)


def step(loop: WorkerLoop) -> None:
    """Do one step without the pause before it."""
    loop.timer.look()
    loop.step()


def end_jobs(loop: WorkerLoop) -> None:
    while (job := loop.buffer.take(0, wait=False)) is not None:
        loop.buffer.end(0, Outcome(job, Status.SUCCESS, began=0.0, ended=0.0))


def finish(loop: WorkerLoop) -> list[str]:
    """Step until the burst ends; return the arguments of what ran."""
    for _ in range(50):
        if loop.state.stopping:
            break
        step(loop)
        end_jobs(loop)
    assert loop.state.stopping
    return sorted(Job.objects.filter(status=Status.SUCCESS).values_list("args", flat=True))


def an_hour_ago() -> datetime.datetime:
    return timezone.now() - datetime.timedelta(hours=1)


def test_burst_runs_what_is_due_and_was_promoted_by_nobody(loop: WorkerLoop) -> None:
    jobs.add.apply_async((1,), eta=an_hour_ago())
    jobs.add.apply_async((2,), eta=an_hour_ago())
    Job.objects.filter(args=[2]).update(status=Status.RETRY)
    jobs.add.apply_async((3,), countdown=3600)
    assert finish(loop) == [[1], [2]]
    assert Job.objects.get(args=[3]).status == Status.SCHEDULED


def test_burst_runs_more_than_one_batch_that_is_due(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promote, "BATCH", 2)
    jobs.add.delay_many([(n,) for n in range(5)], eta=an_hour_ago())
    assert finish(loop) == [[n] for n in range(5)]


def between(loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch, event: Callable[[], Any]) -> None:
    """Let *event* happen once, right after the first claim that found nothing."""
    dialect = type(dialect_for(connection))
    claim = dialect.claim
    events = [event]

    def claim_then(*arguments: Any) -> tuple[list[Claimed], bool]:
        found, contended = claim(*arguments)
        if not found and events:
            events.pop()()
        return found, contended

    monkeypatch.setattr(dialect, "claim", claim_then)
    monkeypatch.setattr(loop.queues, "names", lambda: ["default"])


def test_burst_runs_what_the_promote_timer_made_ready_after_its_last_claim(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.add.apply_async((1,), eta=an_hour_ago())
    between(loop, monkeypatch, lambda: promote.run_once("default"))
    assert finish(loop) == [[1]]


def test_burst_runs_what_became_ready_after_its_last_claim(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.add.delay(1)
    Job.objects.update(status=Status.WAITING, pending_parents=1)
    ready = Job.objects.filter(status=Status.WAITING)
    between(loop, monkeypatch, lambda: ready.update(status=Status.PENDING, pending_parents=0))
    assert finish(loop) == [[1]]


def test_burst_runs_what_came_to_a_queue_that_it_did_not_know(loop: WorkerLoop) -> None:
    jobs.add.delay(1)
    step(loop)
    jobs.add.apply_async((2,), queue="another")
    end_jobs(loop)
    assert finish(loop) == [[1], [2]]


@pytest.mark.parametrize("raised", [True, False])
def test_burst_runs_what_a_limit_has_room_for(loop: WorkerLoop, raised: bool) -> None:
    Limit.objects.create(key="job:tests.jobs.add", concurrency=1)
    jobs.add.delay_many([(1,), (2,), (3,)])
    loop.buffer.run_seconds = 0.001  # short jobs: all are claimed at once
    step(loop)
    assert Job.objects.filter(status=Status.WAITING).count() == 2
    if raised:
        Limit.objects.update(concurrency=5)
    else:
        Limit.objects.all().delete()
    Job.objects.filter(status=Status.STARTED).update(status=Status.SUCCESS)  # by hand
    end_jobs(loop)
    assert finish(loop) == [[1], [2], [3]]


@pytest.mark.django_db(transaction=True)
def test_burst_waits_for_what_is_due_and_locked(loop: WorkerLoop) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite locks the file")
    jobs.add.apply_async((1,), eta=an_hour_ago())
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT id FROM django_jobs_job FOR UPDATE")
        for _ in range(5):
            step(loop)
        assert not loop.state.stopping
        with other.cursor() as cursor:
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert finish(loop) == [[1]]
