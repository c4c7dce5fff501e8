"""The periodic chores of a worker process, besides its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..enqueue.notify import Topic
from ..maintenance import promote, rollup, unblock
from ..maintenance.prune import Pruner
from ..metrics.capped_count import ready_queues
from ..models import Queue
from ..process.timers import Timer, Timers
from ..run.running_logs import save_logs
from .autoscale import LOOK_SECONDS, Gauge
from .command_handler import CommandHandler
from .lease import rescue_seconds

if TYPE_CHECKING:
    from .worker import WorkerProcess

# Jobs that were scheduled within this time are promoted together.
TOGETHER_SECONDS = 0.02


class Chores:
    """One thread runs them: commands, the load for the supervisor, maintenance of the tables."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._commands = CommandHandler(worker)
        self._gauge = Gauge(worker.buffer, worker.options.slots)
        # A host's first worker promotes. The others do so later, in case it is stuck in C code.
        self._grace = min(worker.index, 4) * 0.25
        using = worker.options.using
        self.timers = Timers(
            [
                Timer("control", 1.0, self._execute_commands, after=1.0),
                Timer("load", LOOK_SECONDS, self._tell_load),
                Timer("hooks", 1.0, worker.loop.completer.tell_rest),
                Timer("promote", 10.0, self._promote),
                Timer("logs", 1.0, self._save_logs, after=1.0),
                Timer("rescue", rescue_seconds(), worker.lease.rescue),
                Timer("measure", 15.0, lambda: worker.collector.flush(using), after=15.0),
                Timer("wake", 10.0, lambda: unblock.run_once(using), after=2.0),
                Timer("prune", 60.0, Pruner(using, worker.worker_id).run_once, after=30.0),
                Timer("rollup", 60.0, self._roll_up, after=45.0),
            ],
            using,
        )

    def hear(self, topic: str) -> None:
        """Take a notification that names no queue; safe from any thread."""
        if topic == Topic.TIMED:
            # One look serves many that come together, and the other workers need none so soon.
            self.timers.ask("promote", within=max(TOGETHER_SECONDS, self._grace))
        else:
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

    def _promote(self) -> float:
        # On SQLite the loop sees that rows changed, but not that time has passed.
        longest = 1.0 if self._worker.wakeup.dialect.version() is not None else 10.0
        return promote.run_once(
            self._worker.options.using, longest_pause=longest, grace=self._grace
        )

    def _save_logs(self) -> None:
        running = list(self._worker.pool.contexts.values())
        contexts = [context for context in running if context.kept_log is not None]
        save_logs(self._worker.worker_id, contexts, self._worker.options.using)

    def _roll_up(self) -> float | None:
        more = rollup.run_once(self._worker.options.using, self._worker.worker_id)
        return 0.1 if more else None
