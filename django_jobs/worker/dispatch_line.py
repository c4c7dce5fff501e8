"""Sockets between the coordinator of a ``runworker`` and its workers, for wake-ups.

Each worker makes a pair of sockets and passes one end to the coordinator, which may be started
later than the worker, or be replaced. When a process ends, the other end of its pair is closed.
"""

from __future__ import annotations

import contextlib
import json
import socket
import weakref
from collections.abc import Iterator
from typing import Any

from ..process import native

_LARGEST = 65_536
# A job may have set SIGPIPE to its default, which ends the process.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class Link:
    """One end of the pair of a worker and its coordinator. A message is a line of JSON."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._read = b""
        #: The other end has ended, or takes no messages. The owner has to close this one.
        self.is_over = False

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: Any) -> bool:
        """Send a message; return False if the link is over.

        It is over, too, when the other process does not run for so long that the buffer is full.
        """
        data = json.dumps(message).encode() + b"\n"
        try:
            self.is_over = self.is_over or self._end.send(data, _NO_SIGNAL) < len(data)
        except OSError:
            self.is_over = True
        return not self.is_over

    def received(self) -> list[Any]:
        """Return the messages that have come."""
        with contextlib.suppress(BlockingIOError):
            try:
                while data := self._end.recv(_LARGEST):
                    self._read += data
            except ConnectionError:
                data = b""
            self.is_over = not data
        *lines, self._read = self._read.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self._end.close()


class DispatchLine:
    """What all processes of a ``runworker`` inherit, so that a worker finds the coordinator.

    The supervisor makes it before all forks and keeps it: ends that workers passed while no
    coordinator ran wait in it for the next one.
    """

    def __init__(self) -> None:
        self._workers, self._coordinator = native.socketpair(socket.SOCK_STREAM)
        for end in (self._workers, self._coordinator):
            end.setblocking(False)
            weakref.finalize(self, end.close)

    def join(self) -> Link | None:
        """Return a worker's link to the coordinator; None if too many wait for one already."""
        ours, theirs = native.socketpair(socket.SOCK_STREAM)
        with theirs:
            try:
                # The descriptor travels with a byte, and a read of one byte gets one descriptor.
                socket.send_fds(self._workers, [b"!"], [theirs.fileno()])
            except OSError:
                ours.close()
                return None
        return Link(ours)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a worker joins."""
        return self._coordinator.fileno()

    def joined(self) -> Iterator[Link]:
        """Yield the coordinator's links to the workers that have joined since."""
        with contextlib.suppress(BlockingIOError):
            while True:
                _byte, descriptors, _flags, _address = socket.recv_fds(self._coordinator, 1, 1)
                for descriptor in descriptors:
                    yield Link(native.of_descriptor(descriptor))
