"""What a worker process does from time to time, besides its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..enqueue.notify import Topic
from ..metrics.capped_count import ready_queues
from ..models import Queue
from ..process.timers import Timer, Timers
from ..run.running_logs import save_logs
from .autoscale import LOOK_SECONDS, Gauge
from .command_handler import CommandHandler

if TYPE_CHECKING:
    from .worker import WorkerProcess


class Chores:
    """One thread runs them: commands, the load for the supervisor, what jobs have logged."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._commands = CommandHandler(worker)
        self._gauge = Gauge(worker.buffer, worker.options.slots)
        using = worker.options.using
        self.timers = Timers(
            [
                Timer("control", 1.0, self._execute_commands, after=1.0),
                Timer("load", LOOK_SECONDS, self._tell_load),
                Timer("hooks", 1.0, worker.loop.completer.tell_rest),
                Timer("logs", 1.0, self._save_logs, after=1.0),
                Timer("measure", 15.0, lambda: worker.collector.flush(using), after=15.0),
            ],
            using,
        )

    def hear(self, topic: str) -> None:
        """Take a notification that names no queue; safe from any thread."""
        if topic == Topic.COMMANDS:
            self.timers.ask("control")

    def job_begins(self) -> None:
        """Look for commands soon: a job may be terminated while it runs.

        The notification of that command may be lost. Safe from any thread.
        """
        self.timers.ask("control", within=1.0)

    def is_behind(self) -> bool:
        """Return whether there are ready jobs that this worker would claim if it could."""
        options = self._worker.options
        ready = filter(options.serves, ready_queues(options.using))
        paused = Queue.objects.using(options.using).exclude(paused_at=None)
        return bool(set(ready) - set(paused.values_list("name", flat=True)))

    def _execute_commands(self) -> float:
        self._commands.run_once()
        _waiting, running, _ended = self._worker.buffer.counts()
        # A quiet or full worker does not look at the queues, where it would hear of commands.
        return 1.0 if running or self._worker.options.quiet else 10.0

    def _tell_load(self) -> float | None:
        shared_slots = self._worker.shared_slots
        if not shared_slots.watched:
            return 1.0  # a command may ask for it
        shared_slots.load = self._gauge.read(self.is_behind)
        return None

    def _save_logs(self) -> None:
        running = list(self._worker.pool.contexts.values())
        contexts = [context for context in running if context.kept_log is not None]
        save_logs(self._worker.worker_id, contexts, self._worker.options.using)
