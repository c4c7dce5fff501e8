"""Lets the slots of a pool wait until the loop has recorded how their jobs ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from uuid import UUID

from ..values import Outcome


class Confirmations:
    """The outcomes that slots ask for, by id and claims of the job. Safe from any thread."""

    def __init__(self, wake_loop: Callable[[], None]) -> None:
        self._wake_loop = wake_loop
        self._asked: dict[tuple[UUID, int], Future[Outcome | None]] = {}
        self._lock = threading.Lock()
        self._closed = False
        #: Whether a slot does nothing until its answers come.
        self.urgent = False

    def __bool__(self) -> bool:
        return bool(self._asked)

    def ask(self, outcome: Outcome, *, urgent: bool = True) -> Future[Outcome | None]:
        """Return a future of the outcome that the row gets, or of None if the row keeps another."""
        future: Future[Outcome | None] = Future()
        with self._lock:
            if self._closed:
                future.set_result(None)
            else:
                self._asked[outcome.job.id, outcome.job.claims] = future
                self.urgent = self.urgent or urgent
        return future

    def hurry(self) -> None:
        """Let the loop record at once what was asked without urgency."""
        with self._lock:
            self.urgent = bool(self._asked)
        self._wake_loop()

    def answer(self, outcome: Outcome, recorded: Outcome | None) -> bool:
        """Tell the slot of *outcome* what was recorded; return whether a slot waited for it."""
        with self._lock:
            future = self._asked.pop((outcome.job.id, outcome.job.claims), None)
            self.urgent = self.urgent and bool(self._asked)
        if future is None:
            return False
        future.set_result(recorded)
        return True

    def close(self) -> None:
        """Let nobody wait any more: the loop has ended and records nothing."""
        with self._lock:
            self._closed = True
            asked, self._asked = self._asked, {}
        for future in asked.values():
            future.set_result(None)
