"""A worker process as its supervisor sees it: what it runs, and when it must be killed."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import time
from uuid import UUID

from ..exceptions import TimeLimitExceeded
from .autoscale import Load
from .board import Board
from .line import Line

_log = logging.getLogger("django_jobs.worker")

Reasons = dict[tuple[UUID, int], BaseException | None]


@dataclasses.dataclass(slots=True)
class Child:
    """A worker process; ``reasons`` tells why which of its jobs were killed."""

    index: int
    pid: int
    worker_id: UUID
    board: Board
    line: Line
    started: float
    reasons: Reasons = dataclasses.field(default_factory=dict)
    killed: bool = False
    #: It was told to stop, and no other takes its place.
    surplus: bool = False

    def dispensability(self) -> tuple[bool, bool, int]:
        """The greatest goes first: one that is idle, runs nothing now, came last."""
        return self.board.load.load == Load.IDLE, not self.board.running(), self.index

    def kill_overdue(self) -> None:
        """Kill it when its job ran longer than its hard limit, or is to be terminated."""
        if self.killed:
            return
        asked = self.board.asked_kill()
        if asked is not None:
            self._kill_if_running(asked, None)
        now = time.monotonic()
        for entry in self.board.running():
            if entry.deadline and now >= entry.deadline:
                reason = TimeLimitExceeded(
                    f"the job ran longer than {entry.deadline - entry.began:g} s"
                )
                self._kill_if_running((entry.job_id, entry.attempt), reason)

    def _kill_if_running(self, job: tuple[UUID, int], reason: BaseException | None) -> None:
        # Between the look and the kill the job may end and another begin: stop, look again, kill.
        os.kill(self.pid, signal.SIGSTOP)
        if any((entry.job_id, entry.attempt) == job for entry in self.board.running()):
            self.reasons[job] = reason
            self.killed = True
            _log.warning(
                "killing pid=%d job=%s reason=%s", self.pid, job[0], reason or "terminated"
            )
            os.kill(self.pid, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGCONT)
