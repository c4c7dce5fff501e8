"""Threads for the calls that ``async def`` jobs make by ``sync_to_async``, as the ORM does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import connections

from ...db.attempts import end_attempt

#: The pool keeps so many idle threads, each with its connections, for later jobs.
IDLE_THREADS = 8


class LentThreads:
    """Lends each job a thread of its own when it first needs one.

    In a shared thread each job would wait for the calls of the others, and their transactions
    would mix, as they would share one connection.
    """

    def __init__(self) -> None:
        self._idle: list[_Thread] = []
        self.lock = threading.Lock()

    def lend(self) -> Loan:
        """Let ``sync_to_async`` use the loan's thread, in this task and in those that it makes."""
        loan = Loan(self)
        SyncToAsync.thread_sensitive_context.set(loan)
        return loan

    def take(self) -> _Thread:
        with self.lock:
            return self._idle.pop() if self._idle else _Thread()

    def give_back(self, thread: _Thread) -> None:
        with self.lock:
            if len(self._idle) < IDLE_THREADS:
                self._idle.append(thread)
                return
        thread.end()

    def close(self) -> None:
        """End the idle threads and close their connections; wait for that."""
        with self.lock:
            idle, self._idle = self._idle, []
        for thread in idle:
            thread.end()
            thread.executor.shutdown()


class Loan(ThreadSensitiveContext):
    """The right of one job to a thread. Most jobs make no use of it, so it must cost little."""

    def __init__(self, threads: LentThreads) -> None:
        super().__init__()
        self._threads = threads
        #: None until the job's first ``sync_to_async()``.
        self.executor: LentExecutor | None = None
        self._has_ended = False

    def __bool__(self) -> bool:
        """Provide the executor: ``SyncToAsync`` asks for the truth of its context before it."""
        if self.executor is None:
            with self._threads.lock:
                if self.executor is None:
                    self.executor = LentExecutor(self._threads, has_ended=self._has_ended)
                    # The executor does not refer to the loan, which is a weak key.
                    SyncToAsync.context_to_thread_executor[self] = self.executor
        return True

    def end(self) -> LentExecutor | None:
        """Refuse further calls; return the executor, if there is one to be ended."""
        with self._threads.lock:
            self._has_ended = True
            return self.executor


class LentExecutor(concurrent.futures.Executor):
    """Runs the calls of one job in one thread, which it takes for the first of them."""

    def __init__(self, threads: LentThreads, *, has_ended: bool = False) -> None:
        self._threads = threads
        self._has_ended = has_ended
        self._thread: _Thread | None = None
        self._latest: concurrent.futures.Future[Any] | None = None
        self._lock = threading.Lock()

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        with self._lock:
            if self._has_ended:
                raise RuntimeError(
                    "The job that made this task has ended, and with it the thread of its "
                    "sync_to_async() calls. Await your tasks before you return."
                )
            if self._thread is None:
                self._thread = self._threads.take()
            self._latest = self._thread.executor.submit(fn, *args, **kwargs)
            return self._latest

    async def tidy(self) -> str:
        """Tidy the thread's sessions; return where the job left a transaction open, or "".

        A call may outlive its body, as after a time limit. The pool does not wait for it: the
        thread ends after the call.
        """
        with self._lock:
            latest, self._latest = self._latest, None
            thread = self._thread
            if thread is None or latest is None:
                return ""
            if not latest.done():
                self._thread = None
                thread.end()
                return ""
        tidied = thread.executor.submit(contextvars.copy_context().run, end_attempt)
        try:
            return await asyncio.wrap_future(tidied)
        except BaseException:
            with self._lock:
                self._thread = None
            thread.end()
            raise

    async def end(self) -> None:
        """Tidy what was used since the last :meth:`tidy`, and give the thread back."""
        with self._lock:
            self._has_ended = True
        await self.tidy()
        if self._thread is not None:
            self._threads.give_back(self._thread)


class _Thread:
    """A thread with its database connections."""

    def __init__(self) -> None:
        self.executor = concurrent.futures.ThreadPoolExecutor(1, "coroutines")

    def end(self) -> None:
        """Let the thread close its connections and end after its current call; do not wait."""
        self.executor.submit(connections.close_all)
        self.executor.shutdown(wait=False)
