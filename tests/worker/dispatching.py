"""A dispatcher and the sleeps of its workers, in one process: each step is a call of a test."""

from __future__ import annotations

from typing import Any

from django_jobs.process.wakeup import Waker, Wakeup
from django_jobs.worker.dispatch_line import DispatchLine
from django_jobs.worker.dispatched import DispatchedWakeup
from django_jobs.worker.dispatcher import Dispatcher
from django_jobs.worker.options import WorkerOptions

from .parts import Clock


class Notified(Wakeup):
    """The notifications that a test sends. It never sleeps."""

    def __init__(self) -> None:
        super().__init__("default", Waker())
        self.listens = True
        self.topics: list[str] = []
        self.work = 0

    def open(self) -> None:
        return

    def next_look(self) -> float:
        return 10.0

    def found_work(self) -> None:
        self.work += 1

    def wait(
        self, seconds: float, *, idle: bool = False, full: bool = False, also: int | None = None
    ) -> list[str]:
        heard, self.topics = self.topics, []
        return heard


class Worker:
    """A worker of which only the sleep is real."""

    def __init__(self, line: DispatchLine, **options: Any) -> None:
        self.waker = Waker()
        self.wakeup = DispatchedWakeup(self.waker, line, WorkerOptions(**options))
        self.wakeup.open()

    def sleep(self, idle: bool = True, full: bool = False) -> list[str]:
        """Say whether it is idle; return the calls that have come."""
        return self.wakeup.wait(0.0, idle=idle, full=full)

    def die(self) -> None:
        if self.wakeup._link is not None:
            self.wakeup._link.close()
            self.wakeup._link = None
        self.waker.close()


class Host:
    """The line, the dispatcher and the workers of a ``runworker``."""

    def __init__(self, *, notifies: bool = True) -> None:
        self.clock = Clock()
        self.line = DispatchLine()
        self.notified = Notified()
        self.notified.listens = notifies
        self.ready: list[str] = []
        self.rank = 0
        self.looks = 0
        self.topics: list[str] = []
        self.workers: list[Worker] = []
        self.begin()

    def begin(self) -> None:
        """Start a dispatcher."""
        self.dispatcher = Dispatcher(
            self.notified,
            self.line,
            on_topic=self.topics.append,
            rank=lambda topic: self.rank,
            ready_queues=self._look,
            clock=self.clock,
        )
        self.dispatcher.open()

    def _look(self, using: str) -> list[str]:
        self.looks += 1
        return self.ready

    def add(self, **options: Any) -> Worker:
        """Start a worker, and let it fall asleep."""
        worker = Worker(self.line, **options)
        self.workers.append(worker)
        worker.sleep()
        self.step()
        worker.sleep()
        return worker

    def notify(self, *topics: str) -> None:
        self.notified.topics += topics
        self.step()

    def step(self) -> None:
        self.dispatcher.wait(0.0)

    def calls(self) -> list[list[str]]:
        """Return the calls of each worker. It asks them as idle ones."""
        return [worker.sleep() for worker in self.workers]

    def close(self) -> None:
        for worker in self.workers:
            worker.die()
        self.dispatcher.close()
        self.notified.waker.close()
