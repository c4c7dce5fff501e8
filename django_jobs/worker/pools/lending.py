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
        self._lock = threading.Lock()

    def lend(self) -> Loan:
        """Let ``sync_to_async`` use the loan's thread, in this task and in those that it makes."""
        loan = Loan(self)
        loan.begin()
        return loan

    def take(self) -> _Thread:
        with self._lock:
            return self._idle.pop() if self._idle else _Thread()

    def give_back(self, thread: _Thread) -> None:
        with self._lock:
            if len(self._idle) < IDLE_THREADS:
                self._idle.append(thread)
                return
        thread.end()

    def close(self) -> None:
        """End the idle threads and close their connections; wait for that."""
        with self._lock:
            idle, self._idle = self._idle, []
        for thread in idle:
            thread.end()
            thread.executor.shutdown()


class Loan(concurrent.futures.Executor):
    """The thread of one job; it starts with the job's first call."""

    def __init__(self, threads: LentThreads) -> None:
        self._threads = threads
        self._context = ThreadSensitiveContext()
        self._thread: _Thread | None = None
        self._latest: concurrent.futures.Future[Any] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        SyncToAsync.context_to_thread_executor[self._context] = self
        SyncToAsync.thread_sensitive_context.set(self._context)

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        with self._lock:
            if self._ended:
                raise RuntimeError(
                    "The job that made this task has ended, and with it the thread of its "
                    "sync_to_async() calls. Await your tasks before you return."
                )
            if self._thread is None:
                self._thread = self._threads.take()
            self._latest = self._thread.executor.submit(fn, *args, **kwargs)
            return self._latest

    async def end(self) -> str:
        """Tidy the thread's sessions; return where the job left a transaction open, or "".

        A call may outlive its job, as after a time limit. The pool does not wait for it: the
        thread ends after the call.
        """
        with self._lock:
            self._ended = True
            thread, latest = self._thread, self._latest
        if thread is None or latest is None:
            return ""
        if not latest.done():
            thread.end()
            return ""
        tidied = thread.executor.submit(contextvars.copy_context().run, end_attempt)
        try:
            left_open = await asyncio.wrap_future(tidied)
        except BaseException:
            thread.end()
            raise
        self._threads.give_back(thread)
        return left_open


class _Thread:
    """A thread with its database connections."""

    def __init__(self) -> None:
        self.executor = concurrent.futures.ThreadPoolExecutor(1, "coroutines")

    def end(self) -> None:
        """Let the thread close its connections and end after its current call; do not wait."""
        self.executor.submit(connections.close_all)
        self.executor.shutdown(wait=False)
