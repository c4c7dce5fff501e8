"""Gives back what a dead worker process left, in a process of its own."""

from __future__ import annotations

import dataclasses
import functools
import logging
import signal
import time
from collections.abc import Callable, Mapping
from uuid import UUID

from .. import log
from ..db import own_connection
from ..maintenance import rescue
from ..process.reconnect import Backoff, until_database_answers
from .fork import hear_term

_log = logging.getLogger("django_jobs.worker")

#: How long it tries, and the supervisor's end waits for it.
BURIAL_SECONDS = 10.0


Reasons = Mapping[tuple[UUID, int], BaseException | None]
# Between two tries to start a process.
_PAUSE = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Estate:
    """A worker process that is dead, and its running jobs with the reasons why it was killed."""

    worker_id: UUID
    running: Reasons
    #: An operator's cold stop ended it.
    cold: bool
    #: It failed by itself: nobody had stopped or killed it.
    failed: bool


class Undertakers:
    """The supervisor's side: a process for each dead worker, tried again until it can start."""

    def __init__(self, using: str, fork: Callable[[Callable[[], int]], int]) -> None:
        self.pids: set[int] = set()
        self._using = using
        self._fork = fork
        self._waiting: list[Estate] = []
        self._next_try = 0.0

    def __bool__(self) -> bool:
        return bool(self.pids or self._waiting)

    def call(self, estate: Estate) -> None:
        self._waiting.append(estate)
        self.start_waiting()

    def start_waiting(self) -> None:
        """Start those that could not start before; called again and again."""
        while self._waiting and time.monotonic() >= self._next_try:
            target = functools.partial(settle, self._waiting[0], self._using)
            try:
                self.pids.add(self._fork(target))
            except OSError as error:
                self._next_try = time.monotonic() + _PAUSE
                _log.error("cannot start a process that gives jobs back, trying again: %s", error)
                return
            del self._waiting[0]


def settle(estate: Estate, using: str) -> int:
    """Run :func:`rescue.bury`; return the exit code.

    A slow database or a hook must not hold the supervisor up.
    """
    hear_term(signal.SIG_IGN)
    own_connection(using)
    deadline = time.monotonic() + BURIAL_SECONDS
    settled = until_database_answers(
        lambda: rescue.bury(
            estate.worker_id, estate.running, using, cold=estate.cold, failed=estate.failed
        ),
        Backoff("giving a dead worker's jobs back", using, longest=2.0),
        time.sleep,
        going_on=lambda: time.monotonic() < deadline,
    )
    if settled:
        return 0
    log.jobs_left(estate.worker_id, [job_id for job_id, _claims in estate.running])
    return 1
