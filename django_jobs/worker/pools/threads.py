"""Runs jobs in threads, one job for each."""

from __future__ import annotations

import threading

from django.db import connections

from ..isolation import ignore_alarms, watched_sessions
from .base import Pool


class ThreadPool(Pool):
    """Python cannot stop a thread: there are no time limits, and ``terminate`` only sets a flag."""

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._run, args=(slot,), name=f"slot-{slot}", daemon=True)
            for slot in range(self.setup.options.slots)
        ]
        ignore_alarms()
        with watched_sessions():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _run(self, slot: int) -> None:
        try:
            self.work(slot, self.environment(slot))
        finally:
            connections.close_all()
