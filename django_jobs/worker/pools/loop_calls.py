"""Calls into an event loop from other threads, many of them by one wake of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class LoopCall:
    """Calls *function* in an event loop; requests that come before it runs share one call."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._is_asked = False

    def begin(self) -> None:
        """Belong to the running loop; requests before this do nothing."""
        # Otherwise a call would see the variables of the thread that asked for it.
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()

    def ask(self) -> None:
        """Ask for a call; safe from any thread, also after the end of the loop."""
        if self._loop is not None and not self._is_asked:
            self._is_asked = True
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._call, context=self._context)

    def ask_in_loop(self) -> None:
        """Ask for a call from the loop's own thread, which needs no wake."""
        if self._loop is not None and not self._is_asked:
            self._is_asked = True
            self._loop.call_soon(self._call, context=self._context)

    def _call(self) -> None:
        # This comes first: the function sees all that was done before a request.
        self._is_asked = False
        self._function()


class Answers:
    """Passes the results of other threads' futures to futures of the running loop."""

    def __init__(self) -> None:
        self._ready: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self._delivery = LoopCall(self._deliver)

    def begin(self) -> None:
        self._delivery.begin()

    def to(self, asked: Future[Any]) -> asyncio.Future[Any]:
        """Return a future of the loop that gets the result of *asked*."""
        answer = asyncio.get_running_loop().create_future()
        asked.add_done_callback(functools.partial(self._answered, answer))
        return answer

    def _answered(self, answer: asyncio.Future[Any], asked: Future[Any]) -> None:
        self._ready.append((answer, asked.result()))
        self._delivery.ask()

    def _deliver(self) -> None:
        while self._ready:
            answer, result = self._ready.popleft()
            answer.set_result(result)
