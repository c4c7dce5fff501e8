"""Time limits of coroutines, the same in every pool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Generator
from typing import Any

from asgiref.sync import async_to_sync

from ..exceptions import SoftTimeLimitExceeded
from . import forks


def run_limited(coroutine: Coroutine[Any, Any, Any], seconds: float | None) -> Any:
    """Run :func:`soft_limited` in an event loop in another thread, and wait for its end."""
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    async def main() -> Any:
        started.append((asyncio.get_running_loop(), asyncio.current_task()))
        return await soft_limited(coroutine, seconds)

    try:
        return async_to_sync(main)()
    except BaseException:
        # This thread was told to stop, and the coroutine must not outlive the job.
        for loop, task in started:
            if task is not None and not task.done():
                with contextlib.suppress(RuntimeError):  # the loop has just ended
                    loop.call_soon_threadsafe(task.cancel)
        raise


async def soft_limited(coroutine: Coroutine[Any, Any, Any], seconds: float | None) -> Any:
    """Await *coroutine*; after *seconds* raise SoftTimeLimitExceeded inside it, at its await.

    The coroutine may catch it and go on, as a plain function may.
    """
    before = forks.generation
    try:
        value = await (_limited(coroutine, seconds) if seconds else coroutine)
    except BaseException as error:
        if forks.generation != before:
            forks.leave(error)
        raise
    if forks.generation != before:
        forks.leave(None)
    return value


async def _limited(coroutine: Coroutine[Any, Any, Any], seconds: float) -> Any:
    task = asyncio.current_task()
    assert task is not None
    limited = _Limited(coroutine)
    timer = asyncio.get_running_loop().call_later(seconds, limited.expire, task)
    try:
        return await limited
    finally:
        timer.cancel()


class _Limited:
    """Raises SoftTimeLimitExceeded in place of the cancellation that the timer asks for."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine
        self.expired = False

    def expire(self, task: asyncio.Task[Any]) -> None:
        self.expired = True
        task.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        error: BaseException | None = None
        while True:
            try:
                waited = self.coroutine.send(None) if error is None else self.coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            error = None
            try:
                yield waited
            except asyncio.CancelledError as cancelled:
                error = cancelled
                if self.expired:
                    self.expired = False
                    task = asyncio.current_task()
                    if task is not None:
                        task.uncancel()
                    error = SoftTimeLimitExceeded()
            except BaseException as thrown:
                error = thrown
