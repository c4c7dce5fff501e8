"""Runs jobs in threads, one job for each."""

from __future__ import annotations

import contextlib
import threading
from types import FrameType
from uuid import UUID

from django.db import connections

from .. import stacks
from ..interpreter_exit import GivenBackAtExit
from ..isolation import watched_sessions
from .base import Pool, PoolSetup
from .garbage import rare_collections


class ThreadPool(Pool):
    """Python cannot stop a thread: there are no time limits, and ``terminate`` only sets a flag."""

    def __init__(self, setup: PoolSetup) -> None:
        super().__init__(setup)
        self._idents: dict[int, int] = {}

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._run, args=(slot,), name=f"slot-{slot}", daemon=True)
            for slot in range(self.setup.options.slots)
        ]
        options = self.setup.options
        # An embedded worker leaves the web process as the project has set it up.
        collections = (
            contextlib.nullcontext() if options.embedded else rare_collections(options.slots)
        )
        if not options.embedded:
            self.isolation.keep_shared()
        with watched_sessions(), collections:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def frames(self, slot: int, key: tuple[UUID, int]) -> list[FrameType]:
        return stacks.of_thread(self._idents.get(slot))

    def _run(self, slot: int) -> None:
        self._idents[slot] = threading.get_ident()
        try:
            stoppable = GivenBackAtExit(self.setup.stop) if self.setup.options.embedded else None
            self.work(slot, self.environment(slot, stoppable=stoppable))
        finally:
            connections.close_all()
