"""Tasks as job functions: a task's function becomes a job function when the task is defined."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ...api.job import JobFunction
from ...define import job_defaults, registry
from ...define.context import JobContext
from ...define.option_problems import unknown_options
from ...define.twins import twin
from .context import GivesContext
from .known import add, definition_of, job_of
from .names import (
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    AnyResult,
    AnyTask,
    InvalidTask,
    Task,
)

_FIELDS = {field.name for field in dataclasses.fields(Task)}
#: Options of ``@job`` that stand at a task; it has names of its own for the others.
_OPTIONS = tuple(name for name in job_defaults.ALLOWED if name not in ("queue", "priority"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, init=False)
class JobTask(AnyTask):
    """A task whose calls are jobs. ``@task`` makes it, and passes on the options of ``@job``."""

    #: The options of ``@job`` that stand at the task.
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __init__(self, *, options: Mapping[str, Any] | None = None, **given: Any) -> None:
        own = {name: value for name, value in given.items() if name not in _FIELDS}
        object.__setattr__(self, "options", {**(options or {}), **own})
        Task.__init__(self, **{name: given[name] for name in given if name in _FIELDS})

    @property
    def job(self) -> JobFunction[..., Any, Any]:
        """The job function, for workflows: ``send_mail.job.s(5)``."""
        return job_of(self)

    def enqueue_many(self, calls: Iterable[Sequence[Any] | Mapping[str, Any]]) -> list[AnyResult]:
        """Enqueue many calls: each a tuple of arguments or a dict of keyword arguments.

        All rows are written in one transaction, with one statement for every few thousand. With a
        backend that cannot do so, the calls are enqueued one by one.
        """
        backend = self.get_backend()
        many: Callable[..., list[AnyResult]] | None = getattr(backend, "enqueue_many", None)
        if many is not None:
            return many(self, calls)
        pairs = [((), call) if isinstance(call, Mapping) else (call, {}) for call in calls]
        return [backend.enqueue(self, list(args), dict(kwargs)) for args, kwargs in pairs]

    aenqueue_many = twin(enqueue_many)


def define(task: AnyTask, defaults: Mapping[str, Any]) -> None:
    """Make the function of *task* a job function, unless it is one; *defaults* are its alias's.

    Raises ``InvalidTask`` for invalid options, and when the function has become a task with other
    options before.
    """
    options: Mapping[str, Any] = getattr(task, "options", {})
    before = definition_of(task)
    if before is not None:
        if task.takes_context == before.takes_context and (
            not options or options == getattr(before, "options", {})
        ):
            return
        raise InvalidTask(
            f"{task.module_path} is a task already, with other options or another takes_context. "
            "Write a function of its own for each task."
        )
    if unknown := unknown_options(options, _OPTIONS):
        raise InvalidTask(f"@task {task.module_path}: {unknown}")
    add(task, _job_function(task, options, defaults))


def _job_function(
    task: AnyTask, options: Mapping[str, Any], defaults: Mapping[str, Any]
) -> JobFunction[..., Any, Any]:
    given = dict(options)
    # Django cannot tell these two values from ones that nobody chose.
    if task.queue_name != DEFAULT_TASK_QUEUE_NAME:
        given["queue"] = task.queue_name
    if task.priority != DEFAULT_TASK_PRIORITY:
        given["priority"] = task.priority
    try:
        checked = job_defaults.with_defaults(task.module_path, given, below=defaults)
        if task.takes_context:
            # The project's own base wraps the call that passes the context.
            bases = [base for base in (checked.base, GivesContext) if base is not JobContext]
            base = type(checked.base.__name__, tuple(bases), {})
            checked = dataclasses.replace(checked, bind=True, base=base)
        return JobFunction(task.func, dataclasses.replace(checked, name=task.module_path))
    except ImproperlyConfigured as error:
        raise InvalidTask(str(error)) from None


def find_loaded(name: str) -> JobFunction[..., Any, Any] | None:
    """Define the task *name* of a module that is loaded; it was made for another backend.

    ``using(backend=...)`` sends a task to this backend. Nothing is imported.
    """
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:length]))
        if found is None:
            continue
        for part in parts[length:]:
            found = vars(found).get(part) if hasattr(found, "__dict__") else None
        if isinstance(found, Task) and found.module_path == name:
            define(found, {})
            return job_of(found)
        break
    return None


registry.finders.append(find_loaded)
