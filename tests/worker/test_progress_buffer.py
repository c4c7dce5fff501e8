"""The progress of running jobs is written now and then, the latest of each job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError

from django_jobs.ids import uuid7
from django_jobs.models import Worker
from django_jobs.status import Status
from django_jobs.values import Outcome
from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.progress_buffer import PROGRESS_SECONDS, ProgressBuffer
from tests import jobs
from tests.worker.parts import Clock, a_state, nothing


class Running:
    """A running job, as far as the buffer looks at it."""

    def __init__(
        self, job_id: UUID | None = None, meanwhile: Callable[[], Any] = lambda: None
    ) -> None:
        self.request = SimpleNamespace(uuid=job_id or uuid7())
        self.meanwhile = meanwhile

    @property
    def claims(self) -> int:
        self.meanwhile()
        return 1


@pytest.fixture
def progress(clock: Clock) -> ProgressBuffer:
    return ProgressBuffer(LoopState(UUID(int=1), WorkerOptions()), nothing, clock)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the buffer saves of progress, in order."""
    saved: list[Any] = []

    def save(worker_id: Any, shown: Any, using: str) -> None:
        saved.extend(progress["done"] for progress in shown.values())

    monkeypatch.setattr("django_jobs.worker.progress_buffer.save_progress", save)
    return saved


def save_now(progress: ProgressBuffer, clock: Clock) -> None:
    clock.advance(2 * PROGRESS_SECONDS)
    progress.save()


def test_nothing_is_due_until_a_job_shows_something(progress, saved):
    assert progress.due_at is None
    progress.save()
    assert saved == []


def test_first_progress_is_saved_at_once_and_the_next_after_a_pause(progress, saved, clock):
    job = Running()
    progress.show(job, {"done": 1})
    assert progress.due_at <= clock()
    progress.save()
    progress.show(job, {"done": 2})
    progress.show(job, {"done": 3})
    progress.save()
    assert saved == [1]
    assert progress.due_at == clock() + PROGRESS_SECONDS
    clock.advance(PROGRESS_SECONDS)
    progress.save()
    assert saved == [1, 3]
    assert progress.due_at is None


def test_last_progress_of_a_job_is_saved_before_its_end_without_a_pause(progress, saved):
    ended, running = Running(), Running()
    progress.show(running, {"done": 0})
    progress.save()
    progress.show(ended, {"done": 234})
    progress.show(running, {"done": 1})
    progress.save_last([SimpleNamespace(job=SimpleNamespace(id=ended.request.uuid, claims=1))])
    assert saved == [0, 234]
    assert progress.due_at is not None


def test_loop_is_woken_by_the_first_progress_only(clock):
    woken = []
    progress = ProgressBuffer(
        LoopState(UUID(int=1), WorkerOptions()), lambda: woken.append(True), clock
    )
    for done in range(3):
        progress.show(Running(), {"done": done})
    assert woken == [True]


def test_progress_shown_while_the_loop_saves_is_saved_next(progress, saved, clock):
    job = uuid7()
    progress.show(Running(job), {"done": 1})
    progress.show(Running(job, lambda: save_now(progress, clock)), {"done": 2})
    save_now(progress, clock)
    assert saved == [1, 2]


def test_jobs_show_their_progress_while_the_loop_saves(progress, saved, clock, switching):
    def show() -> None:
        for done in range(2_000):
            progress.show(Running(), {"done": done})

    threads = [threading.Thread(target=show) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        save_now(progress, clock)
    save_now(progress, clock)
    assert sorted(saved) == sorted([*range(2_000)] * 3)


@pytest.mark.django_db
def test_the_loop_writes_the_last_progress_before_the_end(new_loop, clock):
    result = jobs.add.delay(1, 2)
    loop = new_loop(clock=clock)
    loop.step()
    claimed = loop.buffer.take(0, wait=False)
    for done in (1, 2):  # the second one follows within the pause
        loop.progress.show(Running(claimed.id), {"done": done})
        loop.progress.save()
    loop.buffer.end(0, Outcome(claimed, Status.SUCCESS, began=clock(), ended=clock()))
    loop.step()
    assert (result.status, result.progress) == (Status.SUCCESS, {"done": 2})


@pytest.mark.django_db
def test_progress_is_kept_while_the_database_is_away(worker: Worker, take, clock, monkeypatch):
    def fail(*_: Any) -> None:
        raise OperationalError("gone")

    result = jobs.add.delay(1, 2)
    take()
    progress = ProgressBuffer(a_state(worker), nothing, clock)
    with monkeypatch.context() as patched:
        patched.setattr("django_jobs.worker.progress_buffer.save_progress", fail)
        progress.show(Running(result.id), {"done": 1})
        with pytest.raises(OperationalError):
            save_now(progress, clock)
    save_now(progress, clock)
    assert result.progress == {"done": 1}
