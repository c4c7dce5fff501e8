"""Time limits of coroutines, the same in every pool."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from .exceptions import SoftTimeLimitExceeded


async def soft_limited(coroutine: Coroutine[Any, Any, Any], seconds: float | None) -> Any:
    """Await *coroutine*; after *seconds* raise SoftTimeLimitExceeded inside it, at its await.

    The coroutine may catch it and go on, as a plain function may.
    """
    if not seconds:
        return await coroutine
    task = asyncio.current_task()
    assert task is not None
    limited = _Limited(coroutine)
    timer = asyncio.get_running_loop().call_later(seconds, limited.expire, task)
    try:
        return await limited
    finally:
        timer.cancel()


class _Limited:
    """Turns the cancellation that the timer asks for into the limit's own exception."""

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
