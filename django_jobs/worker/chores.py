"""The periodic chores of a worker process, besides its jobs. They need no connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connections

from ..define.context import JobContext
from ..enqueue.notify import Topic
from ..metrics.capped_count import ready_queues
from ..models import Queue
from ..process.timers import Timer, Timers
from ..process.wakeup import Waker
from ..run.running_logs import save_logs
from .autoscale import LOOK_SECONDS, Gauge
from .command_handler import CommandHandler
from .command_router import Answer
from .dispatch_line import DispatchLine, Link

if TYPE_CHECKING:
    from .worker import WorkerProcess

# A worker that ends waits so long for its coordinator to write the answers.
_ANSWER_SECONDS = 5.0


class Chores:
    """One thread executes commands, which work while the loop waits for a lock.

    It asks the loop for what needs a connection: the load for the supervisor, measurements, what
    jobs have logged. *line* leads to the coordinator.
    """

    def __init__(self, worker: WorkerProcess, line: DispatchLine) -> None:
        self._worker = worker
        self._line = line
        self._link: Link | None = None
        self._said_id: UUID | None = None
        self._waker = Waker()
        self._commands = CommandHandler(worker)
        self._gauge = Gauge(worker.buffer, worker.options.slots)
        self.timers = Timers(
            [
                Timer("line", 1.0, self._join),
                Timer("load", LOOK_SECONDS, self._tell_load),
                Timer("hooks", 1.0, self._tell_rest, after=1.0),
                Timer("logs", 1.0, self._save_logs, after=1.0),
                Timer("measure", 15.0, self._measure, after=15.0),
            ],
            worker.options.using,
            wait=self._wait,
            wake=self._waker.wake,
        )

    def run(self) -> None:
        """Run until the timers are stopped."""
        self.timers.run()
        if self._link is not None:
            self._link.close()
        self._waker.close()
        connections.close_all()

    def await_answers(self) -> None:
        """Wait until the rows have the answers to commands, for a few seconds at most.

        The commands of a worker that has signed off are answered by others: it is gone.
        """
        self._commands.answers_are_written.wait(_ANSWER_SECONDS)

    def hear(self, topic: str) -> None:
        """Take what is no queue; the loop's thread calls this.

        The coordinator hears notifications itself, so it needs only what the loop has read.
        """
        if topic == Topic.TIMED and not self._worker.wakeup.listens:
            link = self._link
            if link is not None:
                link.send([str(self._worker.worker_id), topic, []])

    def is_behind(self) -> bool:
        """Return whether there are ready jobs that this worker would claim if it could."""
        options = self._worker.options
        ready = filter(options.serves, ready_queues(options.using))
        paused = Queue.objects.using(options.using).exclude(paused_at=None)
        return bool(set(ready) - set(paused.values_list("name", flat=True)))

    # --- the line to the coordinator ------------------------------------------------------------

    def _join(self) -> None:
        """Say again who we are when the coordinator was replaced, or when our id has changed."""
        if self._link is None:
            self._link = self._line.join()
            self._said_id = None
        if self._link is not None and self._said_id != self._worker.worker_id:
            self._said_id = self._worker.worker_id
            self._say([])

    def _say(self, answers: Sequence[Answer]) -> None:
        if self._link is not None:
            self._link.send([str(self._worker.worker_id), "", answers])

    def _wait(self, seconds: float) -> None:
        link = self._link
        if link is None:
            self._waker.wait(seconds)
            return
        _called, has_come = self._waker.wait(seconds, link.fileno())
        if has_come:
            for worker_id, commands in link.received():
                is_ours = worker_id == str(self._worker.worker_id)
                if is_ours and (answers := self._commands.take(commands)):
                    self._say(answers)
        if link.is_over:
            link.close()
            self._link = None
            self.timers.ask("line")

    # --- what the loop does, over its connection ------------------------------------------------

    def _tell_load(self) -> float | None:
        if not self._worker.shared_slots.watched:
            return 1.0  # a command may ask for it
        self._worker.loop.ask("measuring the load", self._read_load)
        return None

    def _read_load(self) -> None:
        self._worker.shared_slots.load = self._gauge.read(self.is_behind)

    def _measure(self) -> None:
        worker = self._worker
        worker.loop.ask("measuring", lambda: worker.collector.flush(worker.options.using))

    def _save_logs(self) -> None:
        logs = [context.kept_log for context in self._logging()]
        if any(log is not None and log.has_news for log in logs):
            self._worker.loop.ask("saving logs", self._write_logs)

    def _write_logs(self) -> None:
        save_logs(self._worker.worker_id, self._logging(), self._worker.options.using)

    def _logging(self) -> list[JobContext]:
        running = list(self._worker.pool.contexts.values())
        return [context for context in running if context.kept_log is not None]

    # --- what may use a connection of the project -----------------------------------------------

    def _tell_rest(self) -> None:
        self._worker.loop.completer.tell_rest()
        connections.close_all()  # of the receivers
