"""Other job queues, one module each, measured with the same body.

A module has ``send(number)``, which enqueues one job, and ``work()``, which is a worker until a
signal stops it; if the system has them, ``send_many(numbers)`` for many jobs in one call, and
``prepare()`` to make its tables. Only the environment of the peer can import it.
"""

import asyncio
import importlib
import os
import sys
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, NoReturn

REDIS_URL = os.environ.get("REDIS_URL", "")
DATABASE_URL = os.environ.get("DATABASE_URL", "")


class Client:
    """The producer's client of a peer."""

    def __init__(self, name: str) -> None:
        self.module: Any = importlib.import_module(f"benchmarks.peers.{name}")

    def send(self, function: str, number: int) -> None:
        del function
        self.module.send(number)

    def send_many(self, function: str, numbers: Iterable[int]) -> None:
        del function
        if hasattr(self.module, "send_many"):
            self.module.send_many(list(numbers))
            return
        for number in numbers:
            self.module.send(number)


def program(name: str, *arguments: str) -> NoReturn:
    """Become a program of the peer's environment, which finds this package."""
    os.environ["PYTHONPATH"] = str(Path.cwd())
    path = Path(sys.executable).parent / name
    os.execv(path, [str(path), *arguments])  # noqa: S606 (the peer's own program)


_loop: asyncio.AbstractEventLoop | None = None


def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the loop of this process, and return its result."""
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)
    return _loop.run_until_complete(coroutine)
