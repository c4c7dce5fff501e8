"""Hundreds of ``async def`` jobs at a time in one event loop; plain functions run in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from ... import log, registry
from ...classify import Execution, escaped
from ...exceptions import TimeLimitExceeded, WorkerStopping
from ...execute import Environment, body, execute_async
from ...limits import soft_limited
from ...values import Claimed
from ..tidy import close_open_transactions
from .base import Pool, Workplace, thread_environment


class EventLoopPool(Pool):
    """Time limits and ``terminate`` cancel the coroutine; a plain function can only be told."""

    def __init__(self, place: Workplace) -> None:
        super().__init__(place)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._more = asyncio.Event()
        self._tasks: dict[tuple[UUID, int], asyncio.Task[Any]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._free = list(range(place.options.slots))
        self._threads = concurrent.futures.ThreadPoolExecutor(place.options.slots)

    def run(self) -> None:
        asyncio.run(self._serve())

    def wake(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._more.set)

    def terminate(self, job_id: UUID, attempt: int) -> bool:
        known = super().terminate(job_id, attempt)
        task = self._tasks.get((job_id, attempt))
        if task is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(task.cancel)
        return known

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        while True:
            self._more.clear()
            while self._free:
                slot = self._free[-1]
                job = self.desk.take(slot, wait=False)
                if job is None:
                    break
                self._free.pop()
                task = asyncio.create_task(self._run(slot, job))
                self._running[slot] = task
            if self.desk.closed and not self._running:
                break
            await self._more.wait()
        self._threads.shutdown()

    async def _run(self, slot: int, job: Claimed) -> None:
        function = registry.find(job.name)
        if function is not None and not function.is_async:
            environment = self._plain_environment(slot)
            await asyncio.get_running_loop().run_in_executor(
                self._threads, self.run_one, slot, job, environment
            )
        else:
            try:
                outcome = await execute_async(job, self.environment(slot), self._call)
            except BaseException as error:  # whatever it is, the slot must come back
                outcome = escaped(job, error)
                log.job_ended(outcome)
            await sync_to_async(close_open_transactions)()
            self.ended(slot, job, outcome)
        # Not by a callback of the task: the loop would look before it is called, and sleep on.
        del self._running[slot]
        self._free.append(slot)
        self._more.set()

    def _plain_environment(self, slot: int) -> Environment:
        # The worker's own limits are for jobs that it can hold to them.
        environment = thread_environment(self, slot)
        return dataclasses.replace(environment, time_limit=None, soft_time_limit=None)

    async def _call(self, execution: Execution) -> Any:
        job, request = execution.job, execution.context.request
        task = asyncio.create_task(soft_limited(body(execution), request.soft_time_limit))
        self._tasks[job.id, job.attempt] = task
        try:
            await asyncio.wait({task}, timeout=request.time_limit)
            if task.done():
                return await task
            task.cancel()
            # What the job does about its cancellation has no time of its own.
            await asyncio.wait({task}, timeout=1.0)
            raise TimeLimitExceeded(f"the job ran longer than {request.time_limit} s")
        except asyncio.CancelledError:
            if execution.context.revoked:
                raise WorkerStopping("the job was revoked") from None
            raise
        finally:
            self._tasks.pop((job.id, job.attempt), None)
