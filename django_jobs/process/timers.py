"""Functions that a long-running process calls again and again, in one thread."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence

from ..db import without_deadlock
from . import native
from .reconnect import Backoff


@dataclasses.dataclass(slots=True)
class Timer:
    """A function that is called every *seconds*; *run_once* may return another number of them."""

    #: It says in the log what failed.
    name: str
    seconds: float
    run_once: Callable[[], float | None]
    #: The seconds from the start to the first call.
    after: float = 0.0
    #: The moment of the next call, of :func:`time.monotonic`.
    due: float = 0.0


class Timers:
    """Runs each timer when it is due. A timer that fails runs again after a pause that grows.

    An error that is not the database's is a defect, of this package or of a row: it is logged with
    its traceback, and the other timers go on. *wait* sleeps for so many seconds between two of
    them, and *wake* ends its sleep; the default is an event, made by *new_event*.
    """

    def __init__(
        self,
        timers: Sequence[Timer],
        using: str,
        *,
        wait: Callable[[float], object] | None = None,
        wake: Callable[[], object] | None = None,
        new_event: Callable[[], native.Event] = threading.Event,
    ) -> None:
        self.using = using
        #: The number of looks for due timers. It grows while no timer hangs.
        self.rounds = 0
        self._timers = {timer.name: timer for timer in timers}
        self._backoffs = {timer.name: Backoff(timer.name, using) for timer in timers}
        self._stop, self._asked = new_event(), new_event()
        self._wait = wait or self._wait_for_event
        self._wake = wake or self._asked.set
        self._times = native.lock()

    def run(self) -> None:
        """Run until :meth:`stop`."""
        start = time.monotonic()
        for timer in self._timers.values():
            timer.due = start + timer.after
        while not self._stop.is_set():
            self.rounds += 1
            self._wait(self.run_due())

    def run_due(self) -> float:
        """Run what is due; return the seconds until the next timer."""
        for timer in self._timers.values():
            if not self._stop.is_set() and time.monotonic() >= timer.due:
                self._run(timer)
        return max(0.0, min(timer.due for timer in self._timers.values()) - time.monotonic())

    def ask(self, name: str, within: float = 0.0) -> None:
        """Run that timer within so many seconds, if not earlier; safe from any thread."""
        timer = self._timers[name]
        due = time.monotonic() + within
        with self._times:
            if due < timer.due:
                timer.due = due
                self._wake()

    def stop(self) -> None:
        self._stop.set()
        self._wake()

    def _wait_for_event(self, seconds: float) -> None:
        self._asked.wait(seconds)
        self._asked.clear()

    def _run(self, timer: Timer) -> None:
        # A call of ask() while the timer runs may tell of what it has not seen: it runs once more.
        self._set(timer, math.inf)
        backoff = self._backoffs[timer.name]
        try:
            pause = without_deadlock(self.using, timer.run_once)
        except Exception as error:
            self._set(timer, time.monotonic() + backoff.failed(error))
            return
        backoff.succeeded()
        with self._times:
            own = time.monotonic() + (timer.seconds if pause is None else pause)
            timer.due = min(timer.due, own)

    def _set(self, timer: Timer, due: float) -> None:
        with self._times:
            timer.due = due
