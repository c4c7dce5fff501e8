"""A worker process and its supervisor see that the other one lives."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..process import native

if TYPE_CHECKING:
    from .worker import WorkerProcess

_log = logging.getLogger("django_jobs.worker")

PULSE_SECONDS = 1.0


class Pulse:
    """Shows that the interpreter and the loops run; ends an orphaned worker.

    It also carries the lease from the roster to the buffer.
    """

    def __init__(self, worker: WorkerProcess, on_pulse: Callable[[], object]) -> None:
        """*on_pulse* is called once a second."""
        self._worker = worker
        self._on_pulse = on_pulse
        self._parent = os.getppid()
        self._over = native.event()
        # Of the loop and of the own coordinator's heartbeat: the steps so far, and the time of the
        # last one.
        self._steps = [0] * (1 if worker.coordinator is None else 2)
        self._stepped_at = [0.0] * len(self._steps)

    def run(self) -> None:
        """Run until :meth:`end`."""
        worker = self._worker
        worker.shared_slots.pulse = time.monotonic()
        while not self._over.wait(PULSE_SECONDS):
            worker.shared_slots.pulse = now = time.monotonic()
            worker.shared_slots.stepped = self._last_step(now)
            self._on_pulse()
            worker.lease.report()
            worker.lease.look()
            if worker.channel is not None and os.getppid() != self._parent:
                _log.error("worker orphaned name=%s: its supervisor is gone", worker.name)
                os._exit(1)

    def _last_step(self, now: float) -> float:
        steps = [self._worker.loop.turns]
        if self._worker.coordinator is not None:
            steps.append(self._worker.coordinator.heartbeat.rounds)
        for part, number in enumerate(steps):
            if number != self._steps[part]:
                self._stepped_at[part] = now
        self._steps = steps
        return min(self._stepped_at)

    def end(self) -> None:
        self._over.set()
