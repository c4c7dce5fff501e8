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

#: Seconds for which a process tries to give jobs back. The supervisor's end waits for it.
REAP_SECONDS = 10.0
# Seconds between two tries to start such a process.
_PAUSE = 1.0

Reasons = Mapping[tuple[UUID, int], BaseException | None]


@dataclasses.dataclass(frozen=True, slots=True)
class DeadWorker:
    """A worker process that has died, and the jobs that it ran."""

    worker_id: UUID
    name: str
    #: By the id and the claims of each running job: why the supervisor killed it, or None.
    running: Reasons
    #: An operator's cold stop killed the process.
    cold: bool
    #: The process failed by itself: nobody had stopped or killed it.
    failed: bool


class Reaper:
    """The supervisor's side: starts a process for each dead worker, which gives its jobs back.

    *fork* runs a function in a new process and returns its pid. *clock* returns seconds, as
    :func:`time.monotonic` does.
    """

    def __init__(
        self,
        using: str,
        fork: Callable[[Callable[[], int]], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: The processes that have not ended yet.
        self.pids: set[int] = set()
        self._using = using
        self._fork = fork
        self._clock = clock
        self._waiting: list[DeadWorker] = []
        self._next_try = 0.0

    def __bool__(self) -> bool:
        return bool(self.pids or self._waiting)

    def add(self, dead: DeadWorker) -> None:
        """Start a process for *dead*, now or when it is possible."""
        self._waiting.append(dead)
        self.start_waiting()

    def start_waiting(self) -> None:
        """Start the processes that could not start before; called again and again."""
        while self._waiting and self._clock() >= self._next_try:
            target = functools.partial(reap, self._waiting[0], self._using)
            try:
                self.pids.add(self._fork(target))
            except OSError as error:
                self._next_try = self._clock() + _PAUSE
                _log.error(
                    "cannot start a process that gives jobs back, trying again: %s",
                    error,
                    extra={"worker": self._waiting[0].name},
                )
                return
            del self._waiting[0]


def reap(dead: DeadWorker, using: str) -> int:
    """Give the jobs of *dead* back, in this process; return its exit code.

    The supervisor does not do this itself: a slow database or a hook would hold it up.
    """
    log.worker_name.set(dead.name)
    hear_term(signal.SIG_IGN)
    return int(not give_back(dead, using))


def give_back(dead: DeadWorker, using: str) -> bool:
    """Give the jobs of *dead* back, over a connection of this thread's own; return whether it did.

    While the database is away, it tries again for :data:`REAP_SECONDS`.
    """
    own_connection(using)
    deadline = time.monotonic() + REAP_SECONDS
    reaped = until_database_answers(
        lambda: rescue.clean_up_after(
            dead.worker_id, dead.running, using, cold=dead.cold, failed=dead.failed
        ),
        Backoff("giving a dead worker's jobs back", using, longest=2.0),
        time.sleep,
        going_on=lambda: time.monotonic() < deadline,
    )
    if not reaped:
        log.jobs_left(dead.worker_id, [job_id for job_id, _claims in dead.running])
    return reaped
