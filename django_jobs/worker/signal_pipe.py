"""Signals, taken one by one where a loop is ready for them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

from ..process import native
from ..process.wakeup import readable


class SignalPipe:
    """Collects signals, and ends the sleep of the loop that waits for them.

    The loop forks, so it sleeps without gevent's event loop.
    """

    def __init__(self) -> None:
        #: The signals that came and that :meth:`wait` has not returned yet.
        self.numbers: list[int] = []
        self._make_poll = native.original("select", "poll")
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    @property
    def descriptors(self) -> list[int]:
        """The file descriptors that a forked process must close."""
        return [self._read, self._write]

    def listen(self, numbers: Iterable[int]) -> None:
        """Collect these signals from now on; the end of a child process ends the sleep, too."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        set_handler = native.original("signal", "signal")
        for number in numbers:
            set_handler(number, lambda number, frame: self.numbers.append(number))
        set_handler(signal.SIGCHLD, lambda number, frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def stop_listening(self) -> None:
        signal.set_wakeup_fd(-1)

    def wait(self, seconds: float, also: Iterable[int] = ()) -> list[int]:
        """Sleep until a signal comes or one of the descriptors *also* is readable.

        Return the signals that came; *seconds* is the longest sleep.
        """
        readable([self._read, *also], seconds, self._make_poll)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        heard, self.numbers = self.numbers, []
        return heard

    def sleep(self, seconds: float) -> None:
        """Sleep as :meth:`wait` does, and leave the signals to it."""
        readable([self._read], seconds, self._make_poll)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)
