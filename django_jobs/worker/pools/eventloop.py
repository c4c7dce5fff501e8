"""Runs hundreds of ``async def`` jobs in one event loop, and plain functions in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
from typing import Any
from uuid import UUID

from ... import log
from ...db.attempts import begin_attempt, left_elsewhere
from ...define import registry
from ...exceptions import TimeLimitExceeded, WorkerStopping
from ...run.execute import Environment, body, execute_async, left_open
from ...run.hooks import conclude_async
from ...run.outcome import Execution
from ...run.outside_body import escaped
from ...run.time_limits import soft_limited
from ...values import Claimed, Outcome
from ..isolation import ignore_alarms, watched_sessions
from .base import Pool, PoolSetup
from .lending import LentThreads


class EventLoopPool(Pool):
    """Time limits and ``terminate`` cancel a coroutine. They cannot stop a plain function."""

    def __init__(self, setup: PoolSetup) -> None:
        super().__init__(setup)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._more = asyncio.Event()
        self._tasks: dict[tuple[UUID, int], asyncio.Task[Any]] = {}
        self._running: dict[int, asyncio.Task[Outcome] | None] = {}
        self._free = list(range(setup.options.slots))
        self._threads = concurrent.futures.ThreadPoolExecutor(setup.options.slots)
        self._lent = LentThreads()

    def run(self) -> None:
        ignore_alarms()
        with watched_sessions():
            self._run_loop()

    def _run_loop(self) -> None:
        runner = asyncio.Runner()
        loop = runner.get_loop()
        serving = loop.create_task(self._serve())
        serving.add_done_callback(lambda _: loop.stop())
        while not serving.done():
            # A job may end the loop: by loop.stop(), or by sys.exit() in a task, which asyncio also
            # raises here. The task has that error already; the other jobs go on.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                loop.run_forever()
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            runner.close()
        self._threads.shutdown()
        self._lent.close()
        serving.result()

    def wake(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._more.set)

    def terminate(self, job_id: UUID, claims: int) -> bool:
        known = super().terminate(job_id, claims)
        task = self._tasks.get((job_id, claims))
        if task is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(task.cancel)
        return known

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.isolation.keep_signals()  # the loop has set its own handlers by now
        while True:
            self._more.clear()
            while self._free:
                slot = self._free[-1]
                job = self.buffer.take(slot, wait=False)
                if job is None:
                    break
                self._free.pop()
                self._begin(slot, job)
            if self.buffer.closed and not self._running:
                break
            # A job that cancels all tasks of the loop also cancels this one.
            with contextlib.suppress(asyncio.CancelledError):
                await self._more.wait()

    def _begin(self, slot: int, job: Claimed) -> None:
        function = registry.find(job.name)
        if function is None or function.is_async:
            task = asyncio.create_task(self._run(slot, job))
            self._running[slot] = task
            task.add_done_callback(functools.partial(self._ended, slot, job))
        else:
            # Without a task nothing in the loop can free the slot before its thread is done.
            self._running[slot] = None
            self._threads.submit(self._run_plain, slot, job)

    async def _run(self, slot: int, job: Claimed) -> Outcome:
        begin_attempt()
        confirm = functools.partial(self.confirm_async, slot)
        try:
            return await execute_async(job, self.environment(slot), self._call, confirm)
        except BaseException as error:  # after any error the slot must become free
            return await conclude_async(escaped(job, error), confirm)

    async def confirm_async(self, slot: int, outcome: Outcome) -> Outcome | None:
        if slot in self._handed_in:
            return None  # an error has left a hook; the outcome stands
        recorded = asyncio.wrap_future(self.ask(slot, outcome))
        while not recorded.done():
            # The outcome stands, so a cancellation comes too late.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({recorded})
        return recorded.result()

    def _ended(self, slot: int, job: Claimed, task: asyncio.Task[Outcome]) -> None:
        # A task that is cancelled before its first step runs no code, so it returned no outcome.
        outcome = escaped(job, asyncio.CancelledError()) if task.cancelled() else task.result()
        with log.working_as(self.setup.name, job):
            self.ended(slot, job, outcome)
        self._is_free(slot)

    def _run_plain(self, slot: int, job: Claimed) -> None:
        try:
            self.run_one(slot, job, self._plain_environment(slot))
        finally:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._is_free, slot)

    def _is_free(self, slot: int) -> None:
        del self._running[slot]
        self._free.append(slot)
        self._more.set()

    def _plain_environment(self, slot: int) -> Environment:
        # This pool cannot enforce limits on plain functions, so the worker's defaults are left out.
        environment = self.environment(slot)
        return dataclasses.replace(environment, time_limit=None, soft_time_limit=None)

    async def _call(self, execution: Execution) -> Any:
        loan = self._lent.lend()
        try:
            value = await self._call_limited(execution)
        except BaseException:
            await loan.end()
            raise
        alias = await loan.end() or left_elsewhere()
        if alias:
            raise left_open(execution, alias)
        return value

    async def _call_limited(self, execution: Execution) -> Any:
        job, request = execution.job, execution.context.request
        task = asyncio.create_task(soft_limited(body(execution), request.soft_time_limit))
        self._tasks[job.id, job.claims] = task
        try:
            await asyncio.wait({task}, timeout=request.time_limit)
            if task.done():
                return await task
            task.cancel()
            # The job gets one second to clean up after its cancellation.
            await asyncio.wait({task}, timeout=1.0)
            raise TimeLimitExceeded(f"The job ran longer than {request.time_limit} s.")
        except asyncio.CancelledError:
            task.cancel()
            if execution.context.revoked:
                raise WorkerStopping("The job was revoked.") from None
            raise
        finally:
            self._tasks.pop((job.id, job.claims), None)
