"""A worker executes the commands that are addressed to it, each once, and answers in their rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..control.command_table import COMMANDS
from ..control.commands import check
from ..db import clock, is_away
from ..models import Command, Worker
from .option_commands import OPTION_COMMANDS, changed_options

if TYPE_CHECKING:
    from .worker import WorkerProcess

_log = logging.getLogger("django_jobs.worker")


class CommandHandler:
    """Executes the commands of one worker process.

    It keeps each answer until the row has it, so no command is executed again after the database
    was away. A process that died has executed a command at most once, as no other process has its
    id.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._answers: dict[int, dict[str, Any]] = {}
        self._afterwards: list[Callable[[], None]] = []

    def run_once(self) -> int:
        """Execute each open command, in order; return how many there were."""
        rows = Command.objects.using(self._worker.options.using)
        found = list(rows.filter(worker_id=self._worker.worker_id, done_at=None).order_by("id"))
        self._answers = {
            command.pk: self._answers[command.pk]
            for command in found
            if command.pk in self._answers
        }
        for command in found:
            if command.pk not in self._answers:
                self._answers[command.pk] = self._execute(command)
            rows.filter(pk=command.pk).update(
                done_at=clock(rows.db), answer=self._answers[command.pk]
            )
        while self._afterwards:
            self._afterwards.pop(0)()
        return len(found)

    def _execute(self, command: Command) -> dict[str, Any]:
        verb, arguments = command.name, command.arguments
        if verb not in ("ping", "terminate"):
            _log.info(
                "executing command %r %r sent by %r", verb, arguments, command.created_by or "code"
            )
        try:
            if verb not in _HANDLERS:
                known = ", ".join(sorted(_HANDLERS))
                raise ValueError(f"This worker knows no command {verb!r}, but {known}.")
            if verb in COMMANDS:
                # Another version of the code, or a person, may have written the row.
                arguments = check(verb, arguments, self._worker.options.using)
            return _HANDLERS[verb](self, **arguments)
        except ValueError as error:
            return {"error": str(error)}
        except Exception as error:
            if is_away(error):
                raise
            return {"error": f"{type(error).__name__}: {error}"}

    def _change_options(self, *, verb: str, **arguments: Any) -> dict[str, Any]:
        """Change this process's options, and the supervisor's for the processes that replace it."""
        worker = self._worker
        changed = changed_options(worker.options, verb, arguments)
        if worker.channel is not None:
            worker.channel.ask(verb, arguments)
        worker.take(changed)
        queues = {
            "queues": list(changed.queues),
            "exclude_queues": list(changed.exclude_queues),
        }
        row = Worker.objects.using(changed.using).filter(pk=worker.worker_id)
        row.update(quiet=changed.quiet, **queues)
        if verb == "time-limit":
            return dict(arguments)
        return {"quiet": changed.quiet} if verb in ("quiet", "resume") else queues

    def _ping(self) -> dict[str, Any]:
        _waiting, running, _ended = self._worker.buffer.counts()
        return {"pong": self._worker.name, "busy": running}

    def _terminate(self, id: str, claims: int) -> dict[str, Any]:
        worker, job = self._worker, (UUID(id), claims)
        return {"stopped": worker.buffer.remove(*job) or worker.pool.terminate(*job)}

    def _resize(self, *, verb: str, **arguments: Any) -> dict[str, Any]:
        if self._worker.channel is None:
            kind = "An embedded" if self._worker.options.embedded else "A solo"
            raise ValueError(f"{kind} worker stays one process. Start another one beside it.")
        return self._worker.channel.ask(verb, arguments)

    def _shutdown(self, cold: bool) -> dict[str, Any]:
        # A cold stop leaves no time to write the answer, so the stop comes after it.
        self._afterwards.append(lambda: self._stop(cold))
        return {"shutdown": "cold" if cold else "warm"}

    def _stop(self, cold: bool) -> None:
        if self._worker.channel is None:
            self._worker.shut_down(cold)
            return
        try:
            self._worker.channel.ask("shutdown", {"cold": cold})
        except (OSError, ValueError) as error:
            _log.error("cannot shut down: %s", error)


# One function for each command, by its name.
_HANDLERS: dict[str, Callable[..., dict[str, Any]]] = {
    "ping": CommandHandler._ping,
    "terminate": CommandHandler._terminate,
    "shutdown": CommandHandler._shutdown,
    **{
        name: partial(CommandHandler._resize, verb=name) for name in ("grow", "shrink", "autoscale")
    },
    **{name: partial(CommandHandler._change_options, verb=name) for name in OPTION_COMMANDS},
}
