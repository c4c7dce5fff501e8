"""What the tests of the parts of a worker's loop share."""

from __future__ import annotations

import math
import time
from typing import Any

from django_jobs.metrics.collector import Collector
from django_jobs.models import Worker
from django_jobs.process.presence import Presence
from django_jobs.process.wakeup import Waker, Wakeup
from django_jobs.status import Status
from django_jobs.values import Outcome
from django_jobs.worker.buffer import JobBuffer
from django_jobs.worker.loop import WorkerLoop
from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.options import WorkerOptions


class Clock:
    """A clock that stands still between two calls of :meth:`advance`."""

    def __init__(self) -> None:
        # Job rows and outcomes have moments of this clock, too.
        self._now = time.monotonic()

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        # A rounded sum may be less than *seconds* later.
        self._now = math.nextafter(self._now + seconds, math.inf)


class Hearing(Wakeup):
    """A wake-up that hears what a test says, and never sleeps."""

    def __init__(self) -> None:
        super().__init__("default", Waker())
        self.listens = True
        self.topics: list[str] = []

    def wait(
        self, seconds: float, *, idle: bool = False, full: bool = False, also: int | None = None
    ) -> list[str]:
        heard, self.topics = self.topics, []
        return heard


def presence_of(worker: Worker, done: int = 0) -> Presence:
    """Return what renews the row of *worker*, which runs a job and has ended so many."""
    return Presence(worker.pk, worker.name, "default", columns=dict, load=lambda: (1, done))


def nothing(*_: Any) -> None:
    """Take any call."""


def a_buffer(clock: Any = time.monotonic, budget: int | None = None) -> JobBuffer:
    return JobBuffer(nothing, budget, clock)


def a_state(worker: Worker, **options: Any) -> LoopState:
    return LoopState(worker.pk, WorkerOptions(**options))


def a_loop(
    worker: Worker,
    wakeup: Wakeup | None = None,
    clock: Any = time.monotonic,
    **options: Any,
) -> WorkerLoop:
    """Return the loop of *worker*; its caller closes ``wakeup.waker``."""
    return WorkerLoop(
        worker.pk,
        WorkerOptions(**options),
        a_buffer(clock),
        wakeup or Wakeup("default", Waker()),
        Collector(),
        on_topic=nothing,
        on_put=nothing,
        on_database_error=nothing,
        clock=clock,
    )


def end(buffer: JobBuffer, slot: int = 0, *, clock: Any = time.monotonic) -> None:
    """Let the next job of the buffer run in *slot* and succeed."""
    job = buffer.take(slot, wait=False)
    assert job is not None
    now = clock()
    buffer.end(slot, Outcome(job, Status.SUCCESS, began=now, ended=now))
