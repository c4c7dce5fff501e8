"""A worker process as its supervisor sees it: its jobs, and whether it must be killed."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from ..exceptions import TimeLimitExceeded, WorkerStopping
from .autoscale import Load
from .fork import kill_group
from .reaper import DeadWorker
from .shared_slots import SharedSlots
from .supervisor_channel import SupervisorChannel

_log = logging.getLogger("django_jobs.worker")

#: The indexes of the process that fires schedules, and of the one that renews the leases of all
#: workers and does their duties. Workers count from 0.
BEAT, COORDINATOR = -1, -2

# A coordinator that shows no sign of life is killed after this time at the earliest.
_SILENT_SECONDS = 3.0

Reasons = dict[tuple[UUID, int], BaseException | None]


@dataclasses.dataclass(slots=True)
class Child:
    """A worker process. ``reasons`` has the reason for each job for which it was killed."""

    index: int
    pid: int
    worker_id: UUID
    name: str
    shared_slots: SharedSlots
    channel: SupervisorChannel
    started: float
    reasons: Reasons = dataclasses.field(default_factory=dict)
    killed: bool = False
    #: The process was told to stop, and is not replaced.
    surplus: bool = False
    #: It returns seconds, as :func:`time.monotonic` does.
    clock: Callable[[], float] = time.monotonic
    #: The last sign of life, the seconds without a new one, and the moment of the last look.
    _pulse: float = 0.0
    _silent: float = 0.0
    _looked: float = math.inf
    _hung: bool = False

    @property
    def kind(self) -> str:
        """What the process is, for the log."""
        return {BEAT: "beat", COORDINATOR: "coordinator"}.get(self.index, "worker")

    def dispensability(self) -> tuple[bool, bool, int]:
        """Sort key: of several processes the one with the greatest is stopped first.

        An idle one goes before a busy one, then one without a job, then the newest.
        """
        return self.shared_slots.load.load == Load.IDLE, not self.shared_slots.running(), self.index

    def jobs_left(self, failed: bool) -> Reasons:
        """Return the jobs of this process, which has died, with the reasons why it was killed.

        *failed* says that it died by itself.
        """
        entries = self.shared_slots.running()
        jobs = [(entry.job_id, entry.claims) for entry in entries]
        left: Reasons = {job: self.reasons.get(job) for job in jobs}
        # These jobs must not run again, and their outcomes are lost with the process.
        left.update(dict.fromkeys(self.shared_slots.unrecorded()))
        if failed:
            # A job that has just ended may have broken the process, before its end was recorded.
            latest = self.shared_slots.latest()
            left.update({(entry.job_id, entry.claims): None for entry in latest})
        return left

    def log_death(self, code: int) -> None:
        how, extra = how_it_ended(code), {"worker": self.name}
        if self.index == COORDINATOR:
            _log.error("coordinator died pid=%d: %s", self.pid, how, extra=extra)
        else:
            _log.error("worker died index=%d pid=%d: %s", self.index, self.pid, how, extra=extra)

    def log_stop(self) -> None:
        _log.warning(
            "worker stopped index=%d pid=%d by a SIGTERM that is not of its supervisor; another "
            "takes its place",
            self.index,
            self.pid,
            extra={"worker": self.name},
        )

    def remains(self, cold: bool, failed: bool) -> DeadWorker:
        """Return what this process, which has died, left behind."""
        left = self.jobs_left(failed)
        return DeadWorker(self.worker_id, self.name, left, cold, failed)

    def kill_overdue(self) -> None:
        """Kill the process when a job exceeds its hard limit or is to be terminated."""
        if self.killed:
            return
        asked = self.shared_slots.asked_kill()
        if asked is not None:
            self._kill_if_running(asked, None)
        now = self.clock()
        for entry in self.shared_slots.running():
            if entry.deadline and now >= entry.deadline:
                reason = TimeLimitExceeded(
                    f"the job ran longer than {entry.deadline - entry.began:g} s"
                )
                self._kill_if_running((entry.job_id, entry.claims), reason)

    def _kill_if_running(self, job: tuple[UUID, int], reason: BaseException | None) -> None:
        # Between a look and a kill the job may end and another one start: stop, look again, kill.
        os.kill(self.pid, signal.SIGSTOP)
        running = {(each.job_id, each.claims): each.slot for each in self.shared_slots.running()}
        if job in running:
            # Other slots are not to blame: their jobs are given back. A batch is one slot.
            stopped = WorkerStopping("Its process was killed for another job's time limit.")
            self.reasons = {
                each: reason if slot == running[job] else stopped for each, slot in running.items()
            }
            self.killed = True
            _log.warning(
                "killing pid=%d job=%s reason=%s",
                self.pid,
                job[0],
                reason or "terminated",
                extra={"job_id": str(job[0]), "worker": self.name},
            )
            kill_group(self.pid, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGCONT)

    def kill_silent(self, lease_seconds: float) -> None:
        """Kill the process when its interpreter has not run for *lease_seconds*.

        C code that keeps the GIL may hang for ever. The lease of a silent worker is not renewed, so
        its jobs are given to others. A worker that a signal stopped (SIGSTOP) is left alone, as its
        jobs do not go on. A coordinator is killed sooner, and also when a signal stopped it: the
        next one must renew the leases in time.
        """
        is_vital = self.index == COORDINATOR
        longest = max(_SILENT_SECONDS, lease_seconds / 3) if is_vital else lease_seconds
        now, pulse = self.clock(), self.shared_slots.pulse
        # The host may have slept, or this supervisor was stopped: that time does not count.
        seen = min(max(0.0, now - self._looked), 1.0)
        silent = bool(pulse) and pulse == self._pulse
        self._pulse, self._looked = pulse, now
        self._silent = self._silent + seen if silent else 0.0
        if self.killed or self._hung or self._silent <= longest:
            return
        if not is_vital and _is_stopped(self.pid):
            self._silent = 0.0
            return
        self._hung = True
        _log.error(
            "killing %s index=%d pid=%d: its interpreter has not run for %.0f s, and %s",
            self.kind,
            self.index,
            self.pid,
            self._silent,
            "another takes its place" if is_vital else "its jobs are given to others",
            extra={"worker": self.name},
        )
        kill_group(self.pid, signal.SIGKILL)


def how_it_ended(code: int) -> str:
    """Return words for the end of a process: its signal or its exit code."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"
    return f"ended by itself with exit code {code}"


def _is_stopped(pid: int) -> bool:
    """Return whether a signal or a debugger holds the process; False where /proc is missing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")
