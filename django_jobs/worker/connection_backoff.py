"""A worker whose jobs cannot connect to the database claims fewer of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from .. import log
from ..process.reconnect import longer

# A job that could not connect counts as the last one when no other follows within this time.
TRYING_SECONDS = 2.0


class ConnectionBackoff:
    """The worker claims nothing for a while, and then one job at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: The worker claims no job before this moment of *clock*.
        self.claim_from = 0.0
        self._trying_until = 0.0
        self._pause = 0.0

    @property
    def tries_one(self) -> bool:
        """Whether the worker claims only one job, to see whether it can connect."""
        return self._clock() < self._trying_until

    def refused(self, error: BaseException) -> None:
        """Note that a job could not connect; safe from any thread.

        Each job that is given back for this reason calls this once. Those that fail together
        lengthen the pause once.
        """
        now = self._clock()
        if now < self.claim_from:
            return
        self._pause = longer(self._pause if now < self._trying_until else 0.0)
        self.claim_from = now + self._pause
        self._trying_until = self.claim_from + TRYING_SECONDS
        log.connection_refused(error, self._pause)
