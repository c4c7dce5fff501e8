"""Runs hundreds of ``async def`` jobs in one event loop, and plain functions in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Awaitable, Callable, Sequence
from types import FrameType
from typing import Any
from uuid import UUID

from ... import log
from ...db.attempts import begin_attempt
from ...define import registry
from ...run.execute import Environment, execute_async, execute_batch_async
from ...run.hooks import conclude_async
from ...run.outside_body import escaped
from ...values import Batch, Claimed, Outcome, Work, jobs_of
from .. import stacks
from ..isolation import watched_sessions
from .base import Pool, PoolSetup
from .coroutines import Coroutines, new_task
from .garbage import rare_collections
from .lending import LentThreads
from .loop_calls import Answers, LoopCall

# After so many jobs the loop first goes on with those that run.
_MOST_BEGUN_AT_ONCE = 100


class EventLoopPool(Pool):
    """Time limits and ``terminate`` cancel a coroutine. They cannot stop a plain function.

    A job is one task; a hard time limit needs a second one. No task and no thread serves all jobs,
    so that a job that cancels every task, or blocks a thread, harms no other.
    """

    def __init__(self, setup: PoolSetup) -> None:
        super().__init__(setup)
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Future[None]
        self._filling = LoopCall(self._fill)
        self._answers = Answers()
        self._bodies = Coroutines()
        # The task of each slot in which a coroutine runs; None for a thread.
        self._running: dict[int, asyncio.Task[list[Outcome]] | None] = {}
        # The threads of plain functions, by slot.
        self._idents: dict[int, int] = {}
        self._free = list(range(setup.options.slots))
        # The environments of coroutines and of plain functions, by slot.
        self._environments: dict[int, tuple[Environment, _Confirm]] = {}
        self._plain_environments: dict[int, Environment] = {}
        self._threads = concurrent.futures.ThreadPoolExecutor(setup.options.slots)
        self._lent = LentThreads()

    def run(self) -> None:
        self.isolation.keep_shared()
        with watched_sessions(), rare_collections(self.setup.options.slots):
            self._run_loop()

    def _run_loop(self) -> None:
        runner = asyncio.Runner()
        self._loop = loop = runner.get_loop()
        self._over = over = loop.create_future()
        loop.call_soon(self._start)
        while not over.done():
            # A job may end the loop: by loop.stop(), or by sys.exit() in a task, which asyncio also
            # raises here. The task has that error already; the other jobs go on.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                loop.run_forever()
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            runner.close()
        self._threads.shutdown()
        self._lent.close()
        over.result()

    def _start(self) -> None:
        self.isolation.keep_signals()  # the loop has set its own handlers by now
        self._answers.begin()
        self._filling.begin()
        self._fill()

    def wake(self) -> None:
        self._filling.ask()

    def terminate(self, job_id: UUID, claims: int) -> bool:
        known = super().terminate(job_id, claims)
        if known:
            self._loop.call_soon_threadsafe(self._bodies.cancel, (job_id, claims))
        return known

    def frames(self, slot: int, key: tuple[UUID, int]) -> list[FrameType]:
        task = self._bodies.task_of(key) or self._running.get(slot)
        if task is None:
            return stacks.of_thread(self._idents.get(slot))
        coroutine: Any = task.get_coro()
        if getattr(coroutine, "cr_running", False):
            return stacks.of_thread(threading.main_thread().ident)
        return stacks.of_coroutine(coroutine)

    # --- slots ----------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Begin the waiting jobs in the free slots; end the loop after the last job."""
        try:
            self._begin_waiting()
        except BaseException as error:
            self._fail(error)
        if self.buffer.closed and not self._running and not self._over.done():
            self._over.set_result(None)
        if self._over.done():
            self._loop.stop()

    def _fail(self, error: BaseException) -> None:
        """Let :meth:`run` raise *error*: asyncio would only log it, and a slot would be lost."""
        if not self._over.done():
            self._over.set_exception(error)
        self._loop.stop()

    def _begin_waiting(self) -> None:
        for _ in range(_MOST_BEGUN_AT_ONCE):
            if not self._free:
                return
            slot = self._free[-1]
            job = self.buffer.take(slot, wait=False)
            if job is None:
                return
            self._free.pop()
            self._begin(slot, job)
        self._filling.ask_in_loop()

    def _begin(self, slot: int, job: Work) -> None:
        function = registry.find(job.name)
        # Without a task nothing in the loop can free the slot of a thread before it is done.
        self._running[slot] = None
        if function is not None and not function.is_async:
            self._threads.submit(self._run_plain, slot, job)
            return
        run = self._run_batch(slot, job) if isinstance(job, Batch) else self._run(slot, job)
        task = new_task(self._loop, run)
        if task.done():
            self._ended(slot, job, task)
        else:
            self._running[slot] = task
            task.add_done_callback(functools.partial(self._ended, slot, job))

    def _ended(self, slot: int, job: Work, task: asyncio.Task[list[Outcome]]) -> None:
        # A task that is cancelled before its first step runs no code, so it returned no outcome.
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        try:
            jobs = jobs_of(job)
            outcomes = task.result() if error is None else [escaped(each, error) for each in jobs]
            if isinstance(job, Batch):
                self.batches.ended(slot, outcomes)
            else:
                with log.working_as(self.setup.name, job):
                    self.ended(slot, job, outcomes[0])
        except BaseException as defect:
            self._fail(defect)
        self._is_free(slot)
        self._filling.ask_in_loop()

    def _run_plain(self, slot: int, job: Work) -> None:
        self._idents[slot] = threading.get_ident()
        try:
            self.run_one(slot, job, self._plain_environment(slot))
        finally:
            self._is_free(slot)
            self.wake()

    def _is_free(self, slot: int) -> None:
        # In this order: threads call it, and the loop may begin a job in the slot at once.
        del self._running[slot]
        self._free.append(slot)

    def _plain_environment(self, slot: int) -> Environment:
        # This pool cannot enforce limits on plain functions, so the worker's defaults are left out.
        if slot not in self._plain_environments:
            self._plain_environments[slot] = dataclasses.replace(
                self.environment(slot), time_limit=None, soft_time_limit=None
            )
        return self._plain_environments[slot]

    # --- a coroutine ----------------------------------------------------------------------------

    async def _run(self, slot: int, job: Claimed) -> list[Outcome]:
        begin_attempt()
        environment, confirm = self._environment_of(slot)
        loan = self._lent.lend()
        try:
            call = functools.partial(self._bodies.call, loan)
            outcome = await execute_async(job, environment, call, confirm)
        except BaseException as error:  # after any error the slot must become free
            outcome = await conclude_async(escaped(job, error), confirm)
        # Middleware may have used the sessions after the body.
        if executor := loan.end():
            await _undisturbed(asyncio.ensure_future(executor.end()))
        return [outcome]

    async def _run_batch(self, slot: int, batch: Batch) -> list[Outcome]:
        begin_attempt()
        environment, _confirm = self._environment_of(slot)
        loan = self._lent.lend()
        try:
            call = functools.partial(self._bodies.call, loan)
            confirm = functools.partial(self._confirm_batch, slot)
            outcomes = await execute_batch_async(batch.jobs, environment, call, confirm)
        except BaseException as error:  # after any error the slot must become free
            outcomes = [escaped(job, error) for job in batch.jobs]
        if executor := loan.end():
            await _undisturbed(asyncio.ensure_future(executor.end()))
        return outcomes

    async def _confirm_batch(self, slot: int, outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        asked = [self._answers.to(each) for each in self.batches.ask(slot, outcomes)]
        return [await _undisturbed(each) for each in asked]

    def _environment_of(self, slot: int) -> tuple[Environment, _Confirm]:
        known = self._environments.get(slot)
        if known is None:
            confirm = functools.partial(self.confirm_async, slot)
            known = self._environments[slot] = (self.environment(slot), confirm)
        return known

    async def confirm_async(self, slot: int, outcome: Outcome) -> Outcome | None:
        if slot in self._handed_in:
            return None  # an error has left a hook; the outcome stands
        # It stands from here on, so a cancellation comes too late.
        recorded: Outcome | None = await _undisturbed(self._answers.to(self.ask(slot, outcome)))
        return recorded


_Confirm = Callable[[Outcome], Awaitable[Outcome | None]]


async def _undisturbed(future: asyncio.Future[Any]) -> Any:
    """Wait for *future* to its end, however often this task is cancelled."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(future)
    return future.result()
