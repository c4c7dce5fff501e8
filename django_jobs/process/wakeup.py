"""Sleeps that a notification ends, or a call from another thread."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections

from ..db import Dialect, dialect_for, own_connection
from ..enqueue.notify import Topic
from ..values import Claimed

#: Seconds between two polls that only guard against a lost notification.
GUARD_SECONDS = 10.0
# Each poll of an idle database waits longer than the one before, by this factor.
_GROWTH = 1.1
# No queue's name begins with this character.
_TEST = "\x01"


def readable(
    descriptors: Sequence[int], seconds: float, make_poll: Callable[[], Any] | None = None
) -> set[int]:
    """Wait at most *seconds*; return the readable descriptors. Their numbers may exceed 1024."""
    poll = (make_poll or select.poll)()
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
        # It holds at most one call. Its operations are atomic: no other thread interrupts them.
        self._calls: deque[None] = deque(maxlen=1)

    def wake(self) -> None:
        self._calls.append(None)
        # A write is a system call and releases the GIL, so it is made only for a sleeper.
        if self._sleeping:
            self._sleeping = False
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self._write, b"!")

    def wait(self, seconds: float, *also: int | None) -> tuple[bool, set[int]]:
        """Sleep at most *seconds*; return whether it was called, and which of *also* are readable.

        A descriptor that is None is left out.
        """
        others = [descriptor for descriptor in also if descriptor is not None]
        watched = [self._read, *others]
        self._sleeping = True
        # A call that came before _sleeping was set wrote nothing, so it is looked for here.
        ready = readable(watched, 0.0 if self._calls else seconds)
        self._sleeping = False
        called = self._take_call()
        if self._read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read, 4096)
        return called, ready - {self._read}

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
    """Sleeps until there may be new jobs; it uses the connection of its own thread.

    Notifications may be lost, so the database is polled all the same: every 10 s where it notifies,
    in growing intervals where it does not.
    """

    #: Whether each call is for this sleeper alone, so that no other one may be quicker.
    hears_alone = False

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
        """Whether the database tells of new jobs, so that polling only guards."""
        return self.listens or self._watches

    @property
    def name(self) -> str:
        if self.hears:
            return self.dialect.wakeup
        low, high = self.dialect.poll_seconds
        return f"polling every {low * 1000:.0f} ms to {high:.0f} s"

    def open(self) -> None:
        """Listen, and test that notifications arrive; called again after every reconnect."""
        self.listens = self.dialect.listen() and self._hears()
        self._version = self.dialect.version()
        self._watches = self._version is not None
        self.found_work()

    def serve(self, options: Any) -> None:
        """Note the worker's *options* where another process has to know them."""

    def found_work(self) -> None:
        """Let the next poll come after the shortest pause."""
        self._pause = self.dialect.poll_seconds[0]

    def next_look(self) -> float:
        """Return the seconds to the next poll of empty queues: more each time, up to a limit."""
        return GUARD_SECONDS if self.hears else self._next_pause()

    def claimed(self, jobs: Sequence[Claimed], want: int, *, locked: bool) -> bool:
        """Note the *jobs* of a claim of *want*; return whether a notification tells of all others.

        *locked* says that other transactions held ready jobs.
        """
        return self.listens and len(jobs) < want and not locked

    def wait(
        self, seconds: float, *, idle: bool = False, full: bool = False, also: int | None = None
    ) -> list[str]:
        """Sleep at most *seconds*; return the topics of the notifications that came.

        *idle* says that the sleeper would claim a job at once, *full* that the job would have to
        wait for a slot. A descriptor *also* that becomes readable ends the sleep, too.
        """
        if self.listens:
            return self._listen(seconds, also)
        if self._watches:
            return self._watch(seconds, also)
        self.waker.wait(seconds, also)
        return []

    def _listen(self, seconds: float, also: int | None) -> list[str]:
        # A notification that came with the answer to a query does not make the descriptor readable.
        heard = self.dialect.received()
        if heard:
            return heard
        descriptor = self.dialect.fileno()
        _called, readable = self.waker.wait(seconds, descriptor, also)
        return self.dialect.received() if descriptor in readable else []

    def _watch(self, seconds: float, also: int | None) -> list[str]:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            called, readable = self.waker.wait(min(left, self._next_pause()), also)
            if called or readable:
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
        """Return whether a notification of another connection arrives; some poolers drop them."""
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
