"""The pools: each runs the jobs of a worker process in its own way."""

from __future__ import annotations

from collections.abc import Callable

from .base import Pool, PoolSetup
from .eventloop import EventLoopPool
from .mainthread import MainThreadPool
from .threads import ThreadPool

__all__ = ["POOLS", "Pool"]


def _greenlet_pool(setup: PoolSetup) -> Pool:
    from .greenlets import GreenletPool  # it needs gevent, which only this pool does

    return GreenletPool(setup)


POOLS: dict[str, Callable[[PoolSetup], Pool]] = {
    "prefork": MainThreadPool,
    "solo": MainThreadPool,
    "threads": ThreadPool,
    "asyncio": EventLoopPool,
    "gevent": _greenlet_pool,
}
