"""Keeps the progress of running jobs until it is written."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import Error

from ..db import is_away
from ..define.context import JobContext
from ..run.record import save_progress
from ..values import Outcome
from .loop_state import LoopState

# Progress is written at most so often.
PROGRESS_SECONDS = 0.05


class ProgressBuffer:
    """Keeps the latest progress of each job; *wake* is called when there is some to write."""

    def __init__(
        self,
        state: LoopState,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._wake = wake
        self._clock = clock
        # Jobs show their progress in threads of their own.
        self._lock = threading.Lock()
        self._shown: dict[tuple[UUID, int], dict[str, Any]] = {}
        self._saved_at = -math.inf

    def show(self, context: JobContext, progress: dict[str, Any]) -> None:
        """Take the progress of a running job; safe from any thread."""
        request = context.request
        if request.uuid is None:
            return
        key = (request.uuid, context.claims)
        with self._lock:
            wake = not self._shown
            self._shown[key] = progress
        if wake:
            self._wake()

    @property
    def due_at(self) -> float | None:
        """The moment of *clock* at which :meth:`save` writes; None when there is nothing."""
        return self._saved_at + PROGRESS_SECONDS if self._shown else None

    def save(self) -> None:
        """Write what was shown, if that is due."""
        if not self._shown or self._clock() < self._saved_at + PROGRESS_SECONDS:
            return
        self._saved_at = self._clock()
        with self._lock:
            shown, self._shown = self._shown, {}
        self._write(shown)

    def save_last(self, ended: Sequence[Outcome]) -> None:
        """Write the last progress of jobs before their ends are recorded: no later write counts."""
        if not self._shown:
            return
        with self._lock:
            keys = [(each.job.id, each.job.claims) for each in ended]
            shown = {key: self._shown.pop(key) for key in keys if key in self._shown}
        if shown:
            self._write(shown)

    def _write(self, shown: dict[tuple[UUID, int], dict[str, Any]]) -> None:
        try:
            save_progress(self._state.worker_id, shown, self._state.using)
        except Error as error:
            if is_away(error):
                # A job may show nothing else for long.
                with self._lock:
                    self._shown = shown | self._shown
            raise
