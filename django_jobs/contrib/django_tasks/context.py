"""The context that a task with ``takes_context`` gets."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import sync_to_async

from ...define.context import JobContext
from . import results
from .names import AnyContext, AnyResult


class JobTaskContext(AnyContext):
    """The context of a running task; ``task_result`` is read from the row when it is asked for."""

    __slots__ = ("job",)

    #: The running job.
    job: JobContext

    def __init__(self, job: JobContext) -> None:
        object.__setattr__(self, "job", job)

    @property
    def attempt(self) -> int:
        """The number of the attempt, from 1."""
        return self.job.request.attempt

    def __getattr__(self, name: str) -> AnyResult:
        if name != "task_result":
            raise AttributeError(name)
        result = results.of_running(self.job.name, self.job.request)
        object.__setattr__(self, "task_result", result)
        return result


class GivesContext(JobContext):
    """The running job of a task with ``takes_context``: its function gets Django's context."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function, context = self.function.__wrapped__, JobTaskContext(self)
        if self.function.is_async:
            return _awaited(function, context, args, kwargs)
        return function(context, *args, **kwargs)


async def _awaited(
    function: Callable[..., Coroutine[Any, Any, Any]],
    context: JobTaskContext,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    # An attribute of the result that had to be read from the row would block the event loop.
    await sync_to_async(results.load)(context.task_result)
    return await function(context, *args, **kwargs)
