"""The table of commands for workers: name, arguments, scope, help, and the admin's button.

The workers' side is ``worker.command_handler``: it has one function for each command.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal

from django.utils.translation import gettext_lazy, gettext_noop

from ..define import registry
from ..define.option_problems import queue_problems

#: Seconds that a process of an autoscaled ``runworker`` is idle before it is stopped.
IDLE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Button:
    """How the admin offers a command."""

    #: The name of the admin's action.
    action: str
    #: The button on a worker's page.
    label: Any
    #: The action of the list.
    description: Any
    #: The text in the admin's log, in English.
    audit: str


@dataclasses.dataclass(frozen=True, slots=True)
class CommandType:
    """A command that can be sent to workers."""

    #: Its parameters are the command's arguments. It returns all of them, or raises ``ValueError``.
    check: Callable[..., dict[str, Any]]
    #: Every process carries it out, or one process of each ``runworker``, for its supervisor.
    scope: Literal["process", "runworker"]
    #: The help of ``manage.py jobs control``, a msgid.
    help: str
    button: Button | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return tuple(inspect.signature(self.check).parameters)

    @property
    def needed(self) -> tuple[str, ...]:
        """The names of the arguments without a default."""
        parameters = inspect.signature(self.check).parameters.values()
        return tuple(each.name for each in parameters if each.default is each.empty)


# --- arguments ----------------------------------------------------------------------------------


def _none() -> dict[str, Any]:
    return {}


def _queue(queue: str) -> dict[str, Any]:
    for problem in queue_problems(queue):
        raise ValueError(problem)
    return {"queue": queue}


def _number(number: int = 1) -> dict[str, Any]:
    return {"number": _whole("number", number)}


def _autoscale(
    most: int | None, least: int | None, idle_seconds: float = IDLE_SECONDS
) -> dict[str, Any]:
    if most is None and least is None:
        return {"most": None, "least": None, "idle_seconds": None}
    bounds = {"most": _whole("most", most), "least": _whole("least", least)}
    if bounds["most"] < bounds["least"]:
        raise ValueError(f"most ({most}) must not be below least ({least}).")
    return {**bounds, "idle_seconds": _seconds("idle_seconds", idle_seconds)}


def _shutdown(cold: bool = False) -> dict[str, Any]:
    if not isinstance(cold, bool):
        raise ValueError(f"cold must be True or False, got {cold!r}.")
    return {"cold": cold}


def _time_limit(job: str, hard: float | None = None, soft: float | None = None) -> dict[str, Any]:
    function = registry.find(job)
    if function is None:
        raise ValueError(registry.missing(job))
    for name, value in (("hard", hard), ("soft", soft)):
        if value is not None:
            _seconds(name, value)
    soft_one = soft or function.options.soft_time_limit
    hard_one = hard or function.options.time_limit
    if soft_one and hard_one and soft_one >= hard_one:
        raise ValueError(f"The soft limit ({soft_one}) must be shorter than the hard ({hard_one}).")
    return {"job": job, "hard": hard, "soft": soft}


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise ValueError(f"{name} must be a whole number from 1 to 1000, got {value!r}.")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise ValueError(f"{name} must be seconds > 0, got {value!r}.")
    return value


# --- the table ----------------------------------------------------------------------------------

#: Every command that can be sent. ``revoke`` sends one more, ``terminate``, for one running job.
COMMANDS: dict[str, CommandType] = {
    "ping": CommandType(
        _none, "process", gettext_noop("Ask each worker process for an answer.")
    ),
    "quiet": CommandType(
        _none, "process",
        gettext_noop("Stop workers from claiming new jobs; they finish their claimed jobs."),
        Button(
            "quiet", gettext_lazy("Quiet"),
            gettext_lazy("Quiet: selected workers claim no new jobs"), "Made quiet.",
        ),
    ),
    "resume": CommandType(
        _none, "process", gettext_noop("Let quiet workers claim jobs again."),
        Button(
            "resume", gettext_lazy("Resume"),
            gettext_lazy("Resume: selected workers claim jobs again"), "Resumed.",
        ),
    ),
    "add-queue": CommandType(
        _queue, "process", gettext_noop("Let workers serve one more queue.")
    ),
    "remove-queue": CommandType(
        _queue, "process", gettext_noop("Stop workers from serving a queue.")
    ),
    "time-limit": CommandType(
        _time_limit, "process",
        gettext_noop("Set the time limits of a job function; without any, restore its own."),
    ),
    "grow": CommandType(
        _number, "runworker", gettext_noop("Start N more processes of each runworker."),
        Button(
            "grow", gettext_lazy("One process more"),
            gettext_lazy("One process more in each runworker of the selected workers"),
            "Grown by one process.",
        ),
    ),
    "shrink": CommandType(
        _number, "runworker",
        gettext_noop("Stop N processes of each runworker, once they have finished their jobs."),
        Button(
            "shrink", gettext_lazy("One process less"),
            gettext_lazy("One process less in each runworker of the selected workers"),
            "Shrunk by one process.",
        ),
    ),
    "autoscale": CommandType(
        _autoscale, "runworker",
        gettext_noop("Set the bounds of each runworker's number of processes."),
    ),
    "shutdown": CommandType(
        _shutdown, "runworker",
        gettext_noop("Stop each runworker once its jobs have finished or, with --cold, at once."),
        Button(
            "shut_down", gettext_lazy("Shut down"),
            gettext_lazy("Shut down each runworker of the selected workers"), "Shut down.",
        ),
    ),
}  # fmt: skip
