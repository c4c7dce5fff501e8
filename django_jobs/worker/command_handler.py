"""A worker executes the commands that are addressed to it, each once, and answers in their rows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..control.command_table import COMMANDS
from ..control.commands import check
from . import stacks
from .command_router import Answer
from .option_commands import OPTION_COMMANDS, changed_options
from .pools.stack import stack_of

if TYPE_CHECKING:
    from .worker import WorkerProcess

_log = logging.getLogger("django_jobs.worker")


class CommandHandler:
    """Executes the commands of one worker process, which the coordinator passes on.

    It keeps each answer until the row has it, so no command is executed again after the database
    or the coordinator was away. A process that died has executed a command at most once, as no
    other process has its id.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._answers: dict[int, Answer] = {}
        #: Set while no answer waits for its row.
        self.answers_are_written = threading.Event()
        self.answers_are_written.set()
        # By the id of the command: what is done as soon as the row has the answer.
        self._afterwards: dict[int, Callable[[], None]] = {}

    def take(self, commands: Sequence[Sequence[Any]]) -> list[Answer]:
        """Execute the commands that are new, in order; return the answers to all.

        *commands* are those whose rows are open: id, name, arguments and sender of each.
        """
        listed = {command_id for command_id, *_others in commands}
        for command_id in self._answers.keys() - listed:
            del self._answers[command_id]
            self._afterwards.pop(command_id, lambda: None)()
        for command_id, *command in commands:
            if command_id not in self._answers:
                self.answers_are_written.clear()
                self._answers[command_id] = self._execute(command_id, *command)
        if not self._answers:
            self.answers_are_written.set()
        return list(self._answers.values())

    def _execute(self, command_id: int, verb: str, arguments: Any, sender: str) -> Answer:
        if verb not in ("ping", "terminate"):
            _log.info("executing command %r %r sent by %r", verb, arguments, sender or "code")
        try:
            if verb not in _HANDLERS:
                known = ", ".join(sorted(_HANDLERS))
                raise ValueError(f"This worker knows no command {verb!r}, but {known}.")
            if verb in COMMANDS:
                # Another version of the code, or a person, may have written the row.
                arguments = check(verb, arguments, self._worker.options.using)
            answer = _HANDLERS[verb](self, **arguments)
        except ValueError as error:
            return Answer(command_id, {"error": str(error)}, {})
        except Exception as error:
            return Answer(command_id, {"error": f"{type(error).__name__}: {error}"}, {})
        if verb == "shutdown":
            # A cold stop leaves no time to write the answer, so the stop comes after it.
            self._afterwards[command_id] = partial(self._stop, **arguments)
        return Answer(command_id, answer, self._columns() if verb in OPTION_COMMANDS else {})

    def _change_options(self, *, verb: str, **arguments: Any) -> dict[str, Any]:
        """Change this process's options, and the supervisor's for the processes that replace it."""
        worker = self._worker
        changed = changed_options(worker.options, verb, arguments)
        if worker.channel is not None:
            worker.channel.ask(verb, arguments)
        worker.take(changed)
        if verb == "time-limit":
            return dict(arguments)
        columns = self._columns()
        quiet = {"quiet": columns.pop("quiet")}
        return quiet if verb in ("quiet", "resume") else columns

    def _columns(self) -> dict[str, Any]:
        """Return what the worker's row shows of its options."""
        options = self._worker.options
        return {
            "quiet": options.quiet,
            "queues": list(options.queues),
            "exclude_queues": list(options.exclude_queues),
        }

    def _ping(self) -> dict[str, Any]:
        _waiting, running, _ended = self._worker.buffer.counts()
        return {"pong": self._worker.name, "busy": running}

    def _terminate(self, id: str, claims: int) -> dict[str, Any]:
        worker, job = self._worker, (UUID(id), claims)
        return {"stopped": worker.buffer.remove(*job) or worker.pool.terminate(*job)}

    def _stack(self, id: str, claims: int) -> dict[str, Any]:
        frames = stack_of(self._worker.pool, UUID(id), claims)
        if frames is None:
            return {"problem": "The job does not run here: it has ended, or it has not begun."}
        return {"frames": stacks.lines(frames)}

    def _resize(self, *, verb: str, **arguments: Any) -> dict[str, Any]:
        if self._worker.channel is None:
            kind = "An embedded" if self._worker.options.embedded else "A solo"
            raise ValueError(f"{kind} worker stays one process. Start another one beside it.")
        return self._worker.channel.ask(verb, arguments)

    def _shutdown(self, cold: bool) -> dict[str, Any]:
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
    "stack": CommandHandler._stack,
    "shutdown": CommandHandler._shutdown,
    **{
        name: partial(CommandHandler._resize, verb=name) for name in ("grow", "shrink", "autoscale")
    },
    **{name: partial(CommandHandler._change_options, verb=name) for name in OPTION_COMMANDS},
}
