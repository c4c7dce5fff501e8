"""Runs one job at a time in the main thread, where signals arrive: prefork and solo."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any
from uuid import UUID

from ...exceptions import SoftTimeLimitExceeded, WorkerStopping
from .. import stacks
from ..isolation import watched_sessions
from .base import Pool, PoolSetup
from .garbage import rare_collections


class MainThreadPool(Pool):
    """A soft limit is an alarm. For hard limits and ``terminate`` the supervisor kills."""

    _armed = False

    def __init__(self, setup: PoolSetup) -> None:
        super().__init__(setup)
        self.stoppable = Stoppable()

    def run(self) -> None:
        signal.signal(signal.SIGALRM, self._alarm)
        stoppable = self.stoppable if self.setup.options.pool == "solo" else None
        self.isolation.keep_signals()
        self.isolation.keep_process()
        if stoppable is None:  # nobody replaces the process of a solo worker
            self.isolation.keep_descriptors()
        with watched_sessions(), rare_collections(1):
            self.work(0, self.environment(0, soft_limit=self._soft_limit, stoppable=stoppable))

    def frames(self, slot: int, key: tuple[UUID, int]) -> list[FrameType]:
        return stacks.of_thread(threading.main_thread().ident)

    def terminate(self, job_id: UUID, claims: int) -> bool:
        if self.batches.revoke(job_id, claims):
            return True  # the other calls of the batch go on
        if not super().terminate(job_id, claims):
            return False
        if self.setup.options.pool == "prefork":
            self.setup.shared_slots.ask_kill(job_id, claims)
        return True

    def stop_now(self) -> None:
        """Raise an exception in the running body; a signal handler of the solo pool calls this."""
        self.stoppable.stop()

    @contextlib.contextmanager
    def _soft_limit(self, seconds: float) -> Iterator[None]:
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            # The flag goes first: an alarm that is on its way must not raise after the body.
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _alarm(self, signum: int, frame: Any) -> None:
        if self._armed:
            self._armed = False
            raise SoftTimeLimitExceeded("The job ran longer than its soft_time_limit.")


class Stoppable:
    """A context around each body. A stop raises in the current body and in later ones only.

    The stop comes from a signal handler. It must take no lock, as the interrupted code may hold it.
    """

    def __init__(self) -> None:
        self._inside = self._stopped = False

    def __enter__(self) -> None:
        self._inside = True
        if self._stopped:
            self.stop()

    def __exit__(self, *_: object) -> None:
        self._inside = False

    def stop(self) -> None:
        self._stopped = True
        if self._inside:
            self._inside = False
            raise WorkerStopping("The worker was told to stop at once.")
