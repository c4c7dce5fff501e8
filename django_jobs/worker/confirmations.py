"""Lets the slots of a pool wait until the loop has recorded how their jobs ended."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from uuid import UUID

from ..values import Outcome


class Confirmations:
    """The outcomes that slots wait for, by the id and the claims of the job. Safe from any thread.

    It is true while a slot waits.
    """

    def __init__(self) -> None:
        self._asked: dict[tuple[UUID, int], Future[Outcome | None]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._asked)

    def ask(self, outcome: Outcome) -> Future[Outcome | None]:
        """Return the future of the outcome that the job's row gets; None if it keeps another."""
        future: Future[Outcome | None] = Future()
        with self._lock:
            if self._closed:
                future.set_result(None)
            else:
                self._asked[outcome.job.id, outcome.job.claims] = future
        return future

    def answer(self, outcome: Outcome, recorded: Outcome | None) -> bool:
        """Tell the slot of *outcome* what was recorded; return whether a slot waited for it."""
        with self._lock:
            future = self._asked.pop((outcome.job.id, outcome.job.claims), None)
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
