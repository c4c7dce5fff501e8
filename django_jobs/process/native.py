"""Threads and locks of the operating system, also where gevent has put its own into their place.

gevent's stop while the code of any greenlet computes. A thread of the system goes on.
"""

from __future__ import annotations

import _socket
import contextlib
import importlib
import math
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol


def is_patched() -> bool:
    """Return whether gevent has replaced the threads of the standard library."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def original(module: str, name: str) -> Any:
    """Return what the standard library has under that name without gevent."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


def socketpair(kind: int) -> tuple[socket.socket, socket.socket]:
    """Return two sockets that forked processes may use: gevent's belong to an event loop."""
    one, other = _socket.socketpair(socket.AF_UNIX, kind)
    return of_descriptor(one.detach()), of_descriptor(other.detach())


def of_descriptor(number: int) -> socket.socket:
    made: socket.socket = original("socket", "socket")(fileno=number)
    return made


def after_fork() -> None:
    """Let the event loop of gevent work in this process, which has just been forked."""
    if is_patched():
        sys.modules["gevent"].reinit()


def lock() -> threading.Lock:
    """Return a lock for code that never waits while it holds it."""
    made: threading.Lock = original("_thread", "allocate_lock")()
    return made


class Event(Protocol):
    """The part of :class:`threading.Event` that :func:`event` has."""

    def is_set(self) -> bool: ...

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def wait(self, timeout: float) -> bool: ...


def event() -> Event:
    """Return an event for which one thread of the system waits."""
    return _Event() if is_patched() else threading.Event()


class _Event:
    def __init__(self) -> None:
        self._is_set = False
        self._called = lock()
        self._called.acquire()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        with contextlib.suppress(RuntimeError):  # it is called already
            self._called.release()

    def clear(self) -> None:
        self._is_set = False
        self._called.acquire(blocking=False)

    def wait(self, timeout: float) -> bool:
        if not self._is_set:
            self._called.acquire(timeout=max(0.0, timeout))
        return self._is_set


class Thread(Protocol):
    """The part of :class:`threading.Thread` that :func:`thread` has."""

    def start(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...

    def is_alive(self) -> bool: ...


def thread(*, target: Callable[[], object], name: str, daemon: bool) -> Thread:
    """Return a thread of the system."""
    if is_patched():
        return _Thread(target, name)
    return threading.Thread(target=target, name=name, daemon=daemon)


class _Thread:
    # The interpreter never waits for it.
    def __init__(self, target: Callable[[], object], name: str) -> None:
        self._target, self._name = target, name
        self._ended = False

    def start(self) -> None:
        original("_thread", "start_new_thread")(self._run, ())

    def join(self, timeout: float | None = None) -> None:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not self._ended and time.monotonic() < deadline:
            time.sleep(0.01)  # the greenlets of this thread go on

    def is_alive(self) -> bool:
        return not self._ended

    def _run(self) -> None:
        threading.current_thread().name = self._name
        try:
            self._target()
        finally:
            self._ended = True
