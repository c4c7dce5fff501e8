"""Starts worker processes, watches them, replaces the dead. Runs no job, holds no connection."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connections

from .. import log, signals
from ..dialects import own_connection
from ..exceptions import TimeLimitExceeded
from ..ids import uuid7
from ..maintenance import rescue
from .board import Board
from .fork import fork, hear_term
from .keeper import drop_connection
from .options import WorkerOptions
from .process import LOST, RECYCLE, WorkerProcess

_log = logging.getLogger("django_jobs.worker")

TICK_SECONDS = 0.1
# A child that dies sooner than this after its start is replaced more and more slowly.
STILLBORN_SECONDS = 1.0
LONGEST_PAUSE = 30.0
# How long the end of this process waits for the last jobs to be given back.
BURIAL_SECONDS = 10.0
# The index of the process that fires schedules.
_BEAT = -1

Reasons = dict[tuple[UUID, int], BaseException | None]


@dataclasses.dataclass(slots=True)
class Child:
    """A worker process; ``reasons`` tells why which of its jobs were killed."""

    index: int
    pid: int
    worker_id: UUID
    board: Board
    started: float
    reasons: Reasons = dataclasses.field(default_factory=dict)
    killed: bool = False


class Supervisor:
    """Keeps ``options.processes`` workers alive until it is told to stop."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self._children: dict[int, Child] = {}
        self._undertakers: set[int] = set()
        self._vacant: dict[int, float] = {}  # index of a missing worker -> when to start it
        self._failures: dict[int, int] = {}
        self._stopping = False
        self._cold = False
        self._reload = False
        self._kill_at = float("inf")
        self._signals: list[int] = []
        self._read, self._write = os.pipe()

    def run(self) -> int:
        """Supervise to the end; return the exit code."""
        signals.send(signals.worker_init, type(self), options=self.options)
        connections.close_all()
        self._listen_to_signals()
        now = time.monotonic()
        self._vacant = dict.fromkeys(range(self.options.processes), now)
        if self.options.beat:
            self._vacant[_BEAT] = now
        try:
            while self._children or self._vacant:
                self._tick()
            self._await_undertakers()
        finally:
            signal.set_wakeup_fd(-1)
            signals.send(signals.worker_shutdown, type(self))
        if self._reload:
            _log.info("reloading: starting over with the code as it is now")
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
        return 0

    def _tick(self) -> None:
        for number in self._heard_signals():
            self._on_signal(number)
        self._fill_vacancies()
        self._reap()
        self._kill_overdue()
        if self._stopping and not self._cold and time.monotonic() >= self._kill_at:
            _log.warning("the grace period is over")
            self._stop_cold()

    # --- signals --------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGUSR1, lambda number, frame: self._signals.append(number))

    def _heard_signals(self) -> list[int]:
        select.select([self._read], [], [], TICK_SECONDS)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        heard, self._signals = self._signals, []
        return heard

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._send(signal.SIGUSR1)
        elif number == signal.SIGHUP:
            self._reload = self._reload or not self._stopping
            self._stop_warm()
        elif self._reload:
            # The warm stop is under way already; it ends here instead of starting over.
            self._reload = False
            if number == signal.SIGQUIT:
                self._stop_cold()
        elif number == signal.SIGQUIT or self._stopping:
            self._stop_cold()
        else:
            self._stop_warm()

    def _stop_warm(self) -> None:
        if not self._stopping:
            _log.info(
                "stopping: finishing what runs, for up to %.0f s; the same signal again stops now",
                self.options.grace_seconds,
            )
            self._stopping = True
            self._vacant.clear()
            self._kill_at = time.monotonic() + self.options.grace_seconds
            self._send(signal.SIGTERM)

    def _stop_cold(self) -> None:
        if not self._cold:
            _log.warning("stopping now: running jobs are stopped and given back")
            self._stopping = self._cold = True
            self._vacant.clear()
            self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # --- children -------------------------------------------------------------------------------

    def _fill_vacancies(self) -> None:
        now = time.monotonic()
        for index in [index for index, when in self._vacant.items() if when <= now]:
            del self._vacant[index]
            worker_id, board = uuid7(), Board(self.options.slots)
            pid = self._fork(functools.partial(self._work, worker_id, index, board))
            self._children[pid] = Child(index, pid, worker_id, board, time.monotonic())

    def _work(self, worker_id: UUID, index: int, board: Board) -> int:
        if index == _BEAT:
            from ..beat import beat  # which stands on modules of this package

            hear_term()
            return beat.run(self.options.using, name=self.options.base_name, worker_id=worker_id)
        worker = WorkerProcess(self.options, worker_id, index, board, supervised=True)
        hear_term(worker.stop)
        return worker.run()

    def _fork(self, target: Callable[[], int]) -> int:
        return fork(target, close=[self._read, self._write])

    def _reap(self) -> None:
        for pid in [*self._children, *self._undertakers]:
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = pid, 0
            if not ended:
                continue
            if pid in self._undertakers:
                self._undertakers.discard(pid)
            else:
                self._bury(self._children.pop(pid), os.waitstatus_to_exitcode(status))

    def _bury(self, child: Child, code: int) -> None:
        """Settle what a child left, and decide whether another takes its place."""
        orderly = code in (0, RECYCLE)
        if not orderly and code != LOST:
            running: Reasons = {
                (entry.job_id, entry.attempt): child.reasons.get((entry.job_id, entry.attempt))
                for entry in child.board.running()
            }
            if not child.killed and not self._cold:
                _log.error("worker died index=%d pid=%d code=%d", child.index, child.pid, code)
            cold = self._cold
            self._undertakers.add(self._fork(lambda: self._settle(child.worker_id, running, cold)))
        # One that died of its job says nothing about the next one.
        innocent = child.killed or bool(child.board.running())
        child.board.close()
        if self._stopping or code == 0:
            return
        stillborn = not innocent and time.monotonic() - child.started < STILLBORN_SECONDS
        failures = self._failures.get(child.index, 0) + 1 if stillborn and not orderly else 0
        self._failures[child.index] = failures
        pause = min(LONGEST_PAUSE, 2.0 ** (failures - 1)) if failures else 0.0
        self._vacant[child.index] = time.monotonic() + pause

    def _settle(self, worker_id: UUID, running: Reasons, cold: bool) -> int:
        """In a process of its own: a slow database or a hook must not hold the supervisor up."""
        hear_term(signal.SIG_IGN)
        own_connection(self.options.using)
        pause, deadline = 0.25, time.monotonic() + BURIAL_SECONDS
        while time.monotonic() < deadline:
            try:
                rescue.bury(worker_id, running, self.options.using, cold=cold)
                return 0
            except (DatabaseError, InterfaceError) as error:
                log.database_away("giving a dead worker's jobs back", error, pause)
                drop_connection(self.options.using)
                time.sleep(pause)
                pause = min(2.0, pause * 2)
        return 1

    def _await_undertakers(self) -> None:
        deadline = time.monotonic() + BURIAL_SECONDS + 1
        while self._undertakers and time.monotonic() < deadline:
            self._reap()
            select.select([self._read], [], [], 0.02)

    # --- hard limits and terminate --------------------------------------------------------------

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.killed:
                continue
            asked = child.board.asked_kill()
            if asked is not None:
                self._kill_if_running(child, asked, None)
            for entry in child.board.running():
                if entry.deadline and now >= entry.deadline:
                    reason = TimeLimitExceeded(
                        f"the job ran longer than {entry.deadline - entry.began:g} s"
                    )
                    self._kill_if_running(child, (entry.job_id, entry.attempt), reason)

    def _kill_if_running(
        self, child: Child, job: tuple[UUID, int], reason: BaseException | None
    ) -> None:
        # Between the look and the kill the job may end and another begin: stop, look again, kill.
        os.kill(child.pid, signal.SIGSTOP)
        if any((entry.job_id, entry.attempt) == job for entry in child.board.running()):
            child.reasons[job] = reason
            child.killed = True
            _log.warning(
                "killing pid=%d job=%s reason=%s", child.pid, job[0], reason or "terminated"
            )
            os.kill(child.pid, signal.SIGKILL)
        else:
            os.kill(child.pid, signal.SIGCONT)
