"""A worker process and its supervisor see that the other one lives."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .worker import WorkerProcess

_log = logging.getLogger("django_jobs.worker")

PULSE_SECONDS = 1.0


class Pulse:
    """Shows that the interpreter runs, whatever the database does; ends an orphaned worker.

    A stop is noted in the worker's row as soon as it is seen here.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._parent = os.getppid()
        self._over = threading.Event()

    def run(self) -> None:
        """Run until :meth:`end`."""
        worker = self._worker
        worker.shared_slots.pulse = time.monotonic()
        noted = False
        while not self._over.wait(PULSE_SECONDS):
            worker.shared_slots.pulse = time.monotonic()
            if worker.was_told_to_stop and not noted:
                # A signal handler must take no lock, so it cannot ask for this itself.
                worker.renew_soon()
                noted = True
            if worker.channel is not None and os.getppid() != self._parent:
                _log.error("worker orphaned name=%s: its supervisor is gone", worker.name)
                os._exit(1)

    def end(self) -> None:
        self._over.set()
