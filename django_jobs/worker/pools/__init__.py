"""How a worker process runs the jobs it has: one file a kind."""

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
