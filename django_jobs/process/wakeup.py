"""How a worker's loop sleeps: until a job ends, a job comes, or its time is over."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence

from django.db import connections

from ..db import Dialect, dialect_for, own_connection
from ..enqueue.notify import Topic

# A poll that only guards against a lost notification.
GUARD_SECONDS = 10.0
# How much longer each look at an idle database waits than the one before.
_GROWTH = 1.1
# The self-test's topic begins with what no queue's name can.
_TEST = "\x01"


def readable(descriptors: Sequence[int], seconds: float) -> set[int]:
    """Wait at most *seconds*; return the descriptors that can be read, whatever their numbers."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _event in poll.poll(max(0.0, seconds) * 1000)}


class Waker:
    """A pipe that interrupts a sleeping thread; safe from any thread and from signal handlers."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._sleeping = False
        # At most one call, added and taken by operations that no other thread can interrupt.
        self._calls: deque[None] = deque(maxlen=1)

    def wake(self) -> None:
        self._calls.append(None)
        # A write is a system call that lets go of the interpreter: only a sleeper needs one.
        if self._sleeping:
            self._sleeping = False
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self._write, b"!")

    def wait(self, seconds: float, also: int | None = None) -> tuple[bool, bool]:
        """Sleep at most *seconds*; tell whether it was called, and whether *also* is readable."""
        watched = [self._read] if also is None else [self._read, also]
        self._sleeping = True
        # A call that came before this line wrote nothing: it must be seen here.
        ready = readable(watched, 0.0 if self._calls else seconds)
        self._sleeping = False
        called = self._take_call()
        if self._read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read, 4096)
        return called, also in ready

    def _take_call(self) -> bool:
        try:
            self._calls.popleft()
        except IndexError:
            return False
        return True

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Wakeup:
    """Tells the loop when to look for jobs, over its own connection.

    A notification is never trusted: without one the loop looks every 10 s, and where there is
    nothing to hear it looks in growing intervals.
    """

    def __init__(self, using: str, waker: Waker) -> None:
        self.using = using
        self.waker = waker
        self.listens = False
        self._watches = False
        self._pause = 0.0
        self._version: int | None = None

    @property
    def dialect(self) -> Dialect:
        return dialect_for(connections[self.using])

    @property
    def hears(self) -> bool:
        """Whether something tells of new work, so that looking for it only guards."""
        return self.listens or self._watches

    @property
    def name(self) -> str:
        if self.hears:
            return self.dialect.wakeup
        low, high = self.dialect.poll_seconds
        return f"polling every {low * 1000:.0f} ms to {high:.0f} s"

    def open(self) -> None:
        """Listen and try it out; called again after every reconnect."""
        self.listens = self.dialect.listen() and self._hears()
        self._version = self.dialect.version()
        self._watches = self._version is not None
        self.found_work()

    def found_work(self) -> None:
        """Start over with the shortest pause."""
        self._pause = self.dialect.poll_seconds[0]

    def next_look(self) -> float:
        """Return the seconds until the loop looks at empty queues again, growing each time."""
        return GUARD_SECONDS if self.hears else self._next_pause()

    def wait(self, seconds: float) -> list[str]:
        """Sleep; return the topics that were heard."""
        if self.listens:
            return self._listen(seconds)
        if self._watches:
            return self._watch(seconds)
        self.waker.wait(seconds)
        return []

    def _listen(self, seconds: float) -> list[str]:
        # What came together with the answer to a query makes no descriptor readable any more.
        heard = self.dialect.received()
        if heard:
            return heard
        _called, readable = self.waker.wait(seconds, self.dialect.fileno())
        return self.dialect.received() if readable else []

    def _watch(self, seconds: float) -> list[str]:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            called, _readable = self.waker.wait(min(left, self._next_pause()))
            if called:
                break
            version = self.dialect.version()
            if version != self._version:
                self._version = version
                return [Topic.ANY]
        return []

    def _next_pause(self) -> float:
        shortest, longest = self.dialect.poll_seconds
        pause = self._pause
        self._pause = min(longest, pause * _GROWTH)
        return max(pause, shortest)

    def _hears(self) -> bool:
        """Send a notification over another connection, as behind some poolers it never arrives."""
        token = _TEST + uuid.uuid4().hex
        sender = threading.Thread(target=_send, args=(self.using, token), daemon=True)
        sender.start()
        deadline = time.monotonic() + 2.0
        while (left := deadline - time.monotonic()) > 0:
            descriptor = self.dialect.fileno()
            readable([] if descriptor is None else [descriptor], left)
            if token in self.dialect.received():
                return True
        return False


def _send(using: str, token: str) -> None:
    connection = own_connection(using)
    try:
        dialect_for(connection).notify([token])
    finally:
        connection.close()
