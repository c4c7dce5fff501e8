"""What a worker does from time to time: one table of duties, one thread."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence

from .reconnect import Backoff


@dataclasses.dataclass(slots=True)
class Duty:
    """``run_once`` may return the seconds until it is due again, else it is ``seconds``."""

    name: str
    seconds: float
    run_once: Callable[[], float | None]
    #: The first time comes so long after the start.
    after: float = 0.0
    due: float = 0.0


class Duties:
    """Runs each duty when it is due. One that fails is run again, later each time.

    An error that is not the database's is a defect, of this package or of a row: it is logged with
    its traceback, and the other duties go on.
    """

    def __init__(self, duties: Sequence[Duty], using: str) -> None:
        self.using = using
        self._duties = {duty.name: duty for duty in duties}
        self._backoffs = {duty.name: Backoff(duty.name, using) for duty in duties}
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._times = threading.Lock()

    def run(self) -> None:
        """Run until :meth:`stop`."""
        start = time.monotonic()
        for duty in self._duties.values():
            duty.due = start + duty.after
        while not self._stop.is_set():
            self._wake.wait(self.run_due())
            self._wake.clear()

    def run_due(self) -> float:
        """Run what is due; return the seconds until the next duty."""
        for duty in self._duties.values():
            if not self._stop.is_set() and time.monotonic() >= duty.due:
                self._run(duty)
        return max(0.0, min(duty.due for duty in self._duties.values()) - time.monotonic())

    def ask(self, name: str, within: float = 0.0) -> None:
        """Run that duty within so many seconds; safe from any thread."""
        duty = self._duties[name]
        due = time.monotonic() + within
        with self._times:
            if due < duty.due:
                duty.due = due
                self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    def _run(self, duty: Duty) -> None:
        # Whoever asks while it runs may know more than it has seen: it runs once more.
        self._set(duty, math.inf)
        backoff = self._backoffs[duty.name]
        try:
            pause = duty.run_once()
        except Exception as error:
            self._set(duty, time.monotonic() + backoff.failed(error))
            return
        backoff.succeeded()
        with self._times:
            own = time.monotonic() + (duty.seconds if pause is None else pause)
            duty.due = min(duty.due, own)

    def _set(self, duty: Duty, due: float) -> None:
        with self._times:
            duty.due = due
