"""The tasks of this process, and the job functions that they became."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...api.job import JobFunction
from ...define import registry
from ...define.call_options import CallKeywords
from .names import AnyTask

# Each function of a task with its job function, and the task that defined it.
_known: dict[Callable[..., Any], tuple[JobFunction[..., Any, Any], AnyTask]] = {}


def add(task: AnyTask, function: JobFunction[..., Any, Any]) -> None:
    """Register the job *function* that *task* became."""
    registry.register(function)
    _known[task.func] = (function, task)


def job_of(task: AnyTask) -> JobFunction[..., Any, Any]:
    """Return the job function of a *task* that was defined."""
    return _known[task.func][0]


def definition_of(task: AnyTask) -> AnyTask | None:
    """Return the task that defined the function of *task*, or None when it is no job function."""
    function, defined = _known.get(task.func, (None, None))
    is_registered = function is not None and registry.registered(function.name) is function
    return defined if is_registered else None


def named(name: str) -> AnyTask | None:
    """Return the task whose job function has that *name*, or None."""
    function = registry.find(name)
    _function, task = _known.get(function.__wrapped__, (None, None)) if function else (None, None)
    return task


def call_options(task: AnyTask) -> CallKeywords:
    """Return what the *task* of one call has besides what its definition has."""
    defined = _known[task.func][1]
    options: CallKeywords = {}
    if task.queue_name != defined.queue_name:
        options["queue"] = task.queue_name
    if task.priority != defined.priority:
        options["priority"] = task.priority
    if task.run_after is not None:
        options["eta"] = task.run_after
    return options
