"""``--autoscale``: when ``runworker`` starts another process, and when it stops one."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .buffer import JobBuffer

#: Seconds between two reports of a process, and between two decisions of the supervisor.
LOOK_SECONDS = 0.5
# A process must be behind in two reports: jobs that are just being claimed do not count.
_BEHIND_SECONDS = 0.4


class Load(enum.IntEnum):
    """How busy a process is."""

    UNKNOWN = 0  # it has not reported yet
    IDLE = 1  # it has had no job since the last report
    BUSY = 2
    BEHIND = 3  # all its slots are taken, and its queues have ready jobs


class Report(NamedTuple):
    """The load of a process, and since when it has it, by :func:`time.monotonic`."""

    load: Load
    since: float


@dataclasses.dataclass(frozen=True, slots=True)
class Autoscale:
    """Keeps between *least* and *most* processes; stops one that was idle for *idle_seconds*."""

    most: int
    least: int
    idle_seconds: float

    def change(self, size: int, reports: Sequence[Report], now: float) -> int:
        """Return how many processes to add (or, below 0, to stop).

        *size* counts all processes; *reports* come from those that take jobs. One process is added
        when each of them was behind in two reports, so never before a new one has reported. One is
        stopped when any was idle for ``idle_seconds``.
        """
        if size < self.least:
            return self.least - size
        if size > self.most:
            return self.most - size
        behind = [
            report.load == Load.BEHIND and now - report.since >= _BEHIND_SECONDS
            for report in reports
        ]
        if size < self.most and behind and all(behind):
            return 1
        if size > self.least and any(self.is_idle(report, now) for report in reports):
            return -1
        return 0

    def is_idle(self, report: Report, now: float) -> bool:
        """Return whether a process has been idle long enough to be stopped."""
        return report.load == Load.IDLE and now - report.since >= self.idle_seconds


class Gauge:
    """Measures how busy this process is, for its supervisor."""

    def __init__(self, buffer: JobBuffer, slots: int) -> None:
        self._buffer = buffer
        self._slots = slots
        self._jobs_done = 0
        self._last = Report(Load.UNKNOWN, 0.0)

    def read(self, is_behind: Callable[[], bool]) -> Report:
        """Return the load; *is_behind* is called only when all slots are taken."""
        waiting, running, ended = self._buffer.counts()
        held, done = waiting + running + ended, self._buffer.jobs_done
        if not held and done == self._jobs_done:
            load = Load.IDLE
        elif held >= self._slots and is_behind():
            load = Load.BEHIND
        else:
            load = Load.BUSY
        self._jobs_done = done
        if load != self._last.load:
            self._last = Report(load, time.monotonic())
        return self._last
