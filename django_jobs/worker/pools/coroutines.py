"""Awaits the bodies of ``async def`` jobs under their limits, and cancels them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from ...db.attempts import left_elsewhere
from ...exceptions import TimeLimitExceeded, WorkerStopping
from ...run.execute import body, left_open
from ...run.outcome import Execution
from ...run.time_limits import soft_limited
from .lending import Loan

# An eager task begins at once: a job that awaits nothing makes no turn of the loop.
new_task: Callable[[asyncio.AbstractEventLoop, Coroutine[Any, Any, Any]], asyncio.Task[Any]] = (
    getattr(asyncio, "eager_task_factory", lambda loop, coroutine: loop.create_task(coroutine))
)


class Coroutines:
    """The bodies that run now, by id and claims of their jobs."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[UUID, int], asyncio.Task[Any]] = {}

    def cancel(self, key: tuple[UUID, int]) -> None:
        """Cancel the body if it still runs. Its task may have come to the hooks of the job."""
        task = self._tasks.get(key)
        if task is not None:
            task.cancel()

    def task_of(self, key: tuple[UUID, int]) -> asyncio.Task[Any] | None:
        """Return the task of a body that runs."""
        return self._tasks.get(key)

    async def call(self, loan: Loan, execution: Execution) -> Any:
        """Call the body and return its result, with the sessions of the *loan* tidied."""
        try:
            value = await self._call_limited(execution)
        except BaseException as error:
            if loan.executor is not None:
                await loan.executor.tidy()
            if isinstance(error, asyncio.CancelledError) and execution.context.revoked:
                raise WorkerStopping("The job was revoked.") from None
            raise
        alias = await loan.executor.tidy() if loan.executor is not None else ""
        alias = alias or left_elsewhere()
        if alias:
            raise left_open(execution, alias)
        return value

    async def _call_limited(self, execution: Execution) -> Any:
        key = execution.job.id, execution.job.claims
        coroutine = soft_limited(body(execution), execution.soft_time_limit)
        task = asyncio.current_task()
        assert task is not None
        try:
            if execution.time_limit:
                return await self._hard_limited(key, coroutine, execution.time_limit)
            self._tasks[key] = task
            return await coroutine
        finally:
            self._tasks.pop(key, None)
            if task.cancelling():
                await _end_cancellation(task)

    async def _hard_limited(
        self, key: tuple[UUID, int], coroutine: Coroutine[Any, Any, Any], seconds: float
    ) -> Any:
        # In a task of its own a body that ignores its cancellation can be left behind.
        task = self._tasks[key] = new_task(asyncio.get_running_loop(), coroutine)
        try:
            if not task.done():
                await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return await task
            task.cancel()
            # The job gets one second to clean up after its cancellation.
            await asyncio.wait({task}, timeout=1.0)
            raise TimeLimitExceeded(f"The job ran longer than {seconds} s.")
        except asyncio.CancelledError:
            task.cancel()
            raise


async def _end_cancellation(task: asyncio.Task[Any]) -> None:
    """Let a cancellation that is on its way hit the body, and not the hooks of its job."""
    try:
        await asyncio.sleep(0)
    finally:
        while task.uncancel():
            continue
