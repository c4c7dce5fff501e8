"""The pools: each runs the jobs of a worker process in its own way."""

from __future__ import annotations

from .base import Pool
from .eventloop import EventLoopPool
from .mainthread import MainThreadPool
from .threads import ThreadPool

__all__ = ["POOLS", "Pool"]

POOLS: dict[str, type[Pool]] = {
    "prefork": MainThreadPool,
    "solo": MainThreadPool,
    "threads": ThreadPool,
    "asyncio": EventLoopPool,
}
