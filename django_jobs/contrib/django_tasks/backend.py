"""The backend: it enqueues tasks as jobs, and reads their results from the jobs' rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from django.core import checks

from ...api.calls import enqueue
from ...conf import get_settings
from ...define.call_options import CallKeywords
from ...define.twins import twin
from ...enqueue.rows import Pair
from ...ids import uuid7
from ...serialization import type_of
from . import events, results
from .checks import backend_problems
from .known import call_options, job_of, named
from .names import (
    AnyResult,
    AnyTask,
    BaseTaskBackend,
    TaskResultDoesNotExist,
    normalize_json,
)
from .task import JobTask, define

if TYPE_CHECKING:
    from ...api.eager_result import EagerResult

_SCALARS = frozenset({str, int, float, bool, type(None)})


class DatabaseBackend(BaseTaskBackend):
    """Runs tasks as jobs, which a worker (``manage.py runworker``) claims from the database.

    ``OPTIONS`` has options of ``@job``: the defaults of the tasks that are defined for this alias.
    """

    task_class = JobTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        # The tasks without a time that enqueue() has validated.
        self._valid: set[tuple[Any, ...]] = set()

    def validate_task(self, task: AnyTask) -> None:
        """Raise ``InvalidTask`` for a task that cannot be a job; else make it a job function."""
        super().validate_task(task)
        define(task, self.options)

    def enqueue(self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Write a job for the call, in the caller's transaction, and return the task's result.

        Raises ``InvalidTask``; ``TypeError`` for arguments that do not fit the function or are no
        JSON; ``QueueFull`` and ``DuplicateKey`` as ``delay()`` does.
        """
        return self._enqueue(task, ((args, kwargs),))[0]

    def enqueue_many(
        self, task: AnyTask, calls: Iterable[Sequence[Any] | Mapping[str, Any]]
    ) -> list[AnyResult]:
        """Write a job for each call, a tuple of arguments or a dict of keyword arguments.

        All are written in one transaction. The errors are those of :meth:`enqueue`; then no job is
        written.
        """
        return self._enqueue(task, [_pair(task, call) for call in calls])

    aenqueue_many = twin(enqueue_many)

    def get_result(self, result_id: str) -> AnyResult:
        """Return the result with that id; raise ``TaskResultDoesNotExist`` when there is none."""
        row = results.row_of(result_id)
        task = named(row.name)
        if task is None:
            raise TaskResultDoesNotExist(
                f"Job {row.pk} is one of {row.name}, which is no task of this process. If it is a "
                "job function, read it with AsyncResult(id); if its module was not imported, name "
                "that in DJANGO_JOBS['IMPORTS']."
            )
        return results.of_row(row, task, self.alias)

    def cancel(self, result_id: str, *, terminate: bool = False) -> bool:
        """Cancel a task that has not begun, with *terminate* also one that runs.

        Returns whether it was. Raises ``TaskResultDoesNotExist``.
        """
        result: Any = self.get_result(result_id)
        cancelled: bool = result.cancel(terminate=terminate)
        return cancelled

    acancel = twin(cancel)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Return what is wrong with the alias in ``TASKS``."""
        return list(backend_problems(self))

    def _enqueue(self, task: AnyTask, calls: Sequence[Pair]) -> list[AnyResult]:
        self._validate_once(task)
        pairs: list[Any] = [(_plain(args), _plain(kwargs)) for args, kwargs in calls]
        if get_settings().eager:
            return [self._run(task, *pair) for pair in pairs]
        enqueued: list[AnyResult] = []
        handles = enqueue(job_of(task), pairs, call_options(task))
        for handle, pair in zip(handles, pairs, strict=True):
            result = results.enqueued(task, str(handle.uuid), *pair)
            enqueued.append(result)
            events.enqueued(result, type(self), handle._using)
        return enqueued

    def _validate_once(self, task: AnyTask) -> None:
        facts = (task.func, task.queue_name, task.priority, task.takes_context)
        if task.run_after is not None or facts not in self._valid:
            self.validate_task(task)
            self._valid.add(facts)

    def _run(self, task: AnyTask, args: list[Any], kwargs: dict[str, Any]) -> AnyResult:
        """Run the call in this process; its signals come in the order of their causes."""
        job_id = uuid7()
        events.enqueued(results.enqueued(task, str(job_id), args, kwargs), type(self))
        options: CallKeywords = {**call_options(task), "task_id": job_id}
        (handle,) = enqueue(job_of(task), [(args, kwargs)], options)
        return results.of_eager(cast("EagerResult[Any]", handle), task)


def _plain(arguments: Sequence[Any] | Mapping[str, Any]) -> Any:
    """Return *arguments* as JSON has them, as Django's backends do; ``TypeError`` for others."""
    # Most calls have nothing to change, and Django's function takes longer to find out.
    if type(arguments) is tuple and _SCALARS.issuperset(map(type, arguments)):
        return list(arguments)
    if type(arguments) is dict and _SCALARS.issuperset(map(type, arguments.values())):
        return arguments
    return normalize_json(arguments)


def _pair(task: AnyTask, call: Sequence[Any] | Mapping[str, Any]) -> Pair:
    if isinstance(call, Mapping):
        return (), call
    if isinstance(call, (tuple, list)):
        return call, {}
    raise TypeError(
        f"{task.module_path}: enqueue_many() takes tuples of arguments or dicts of keyword "
        f"arguments, got {type_of(call)}. For one argument write (value,)."
    )
