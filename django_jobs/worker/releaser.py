"""Gives claimed jobs back to their queues when this worker would begin them too late."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..run.reassert import reassert
from ..run.release import owned, release, release_strays
from ..values import Claimed
from .buffer import JobBuffer
from .loop_state import LoopState

# A job that would not begin within this time goes back to its queue.
RELEASE_SECONDS = 0.5
# A claim may take effect long after its connection broke, so the worker looks for stray jobs again
# and again, at most so far apart.
STRAYS_SECONDS = 10.0


class Releaser:
    """Releases jobs that wait in the buffer."""

    def __init__(
        self, state: LoopState, buffer: JobBuffer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state = state
        self._buffer = buffer
        self._clock = clock

    def release_late(self) -> None:
        """Release the jobs that came too late for their rate limits."""
        self._release(self._buffer.withdraw_late())

    def release_waiting(self) -> None:
        """Release waiting jobs when the worker ends or the jobs before them run long."""
        waiting, running, _ended = self._buffer.counts()
        if not waiting:
            return
        slots = self._state.options.slots
        free = max(0, slots - running)  # these slots are about to take a job each
        slow = self._clock() - self._buffer.last_move >= RELEASE_SECONDS
        if slow or self._state.stopping or self._buffer.spent:
            jobs = self._buffer.withdraw()
            if slow:
                self._buffer.run_seconds = max(self._buffer.run_seconds, RELEASE_SECONDS)
                # Jobs that were claimed ahead again would wait behind the same one.
                self._buffer.last_begin = -math.inf
            self._release(jobs)
        elif (waiting - free) * self._buffer.run_seconds > slots * self._longest():
            # They were claimed while jobs were shorter: the last of them would begin too late.
            keep = free + self._state.pace.ahead(slots, self._buffer.run_seconds)
            self._release(self._buffer.withdraw(keep=keep))

    def _longest(self) -> float:
        """Return the seconds of work that may wait: twice what is claimed ahead at most."""
        return max(RELEASE_SECONDS, 2 * self._state.pace.ahead_seconds)

    def _release(self, jobs: list[Claimed]) -> None:
        # When the answer is lost, the jobs may be another worker's already: they left the buffer
        # before, so they do not run here. If the statement did not take effect, they are strays.
        release(self._state.worker_id, jobs, self._state.using)


class StrayReleaser:
    """Makes the rows agree with the buffer, after an error may have parted them.

    A claim whose answer was lost leaves rows that name this worker, which does not have the jobs:
    they are released. A crash of the database may have lost claims of jobs that this worker has:
    they are claimed again. A worker without an error never looks.
    """

    def __init__(
        self, state: LoopState, buffer: JobBuffer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state = state
        self._buffer = buffer
        self._clock = clock
        #: The moment of *clock* of the next look.
        self.due_at = math.inf
        self._pause = 0.0
        #: Whether claims of this worker may be lost. It must not claim before :meth:`reassert`.
        self.doubts_claims = False

    @property
    def is_due(self) -> bool:
        return self._clock() >= self.due_at

    def suspect(self) -> None:
        """Look at once, and again later: a statement may take effect long after it was sent."""
        self.due_at = self._pause = 0.0
        self.doubts_claims = True

    def reassert(self) -> None:
        """Repeat the claims that a crash lost; drop jobs that others own and that did not begin."""
        worker_id, using, held = self._state.worker_id, self._state.using, self._buffer.held()
        reassert(worker_id, held, using)
        for job_id, claims in held - owned(worker_id, using):
            self._buffer.remove(job_id, claims)
        self.doubts_claims = False

    def release(self) -> None:
        """Look now, and again after a pause, longer each time."""
        self._pause = min(STRAYS_SECONDS, self._pause * 2 or 1.0)
        self.due_at = self._clock() + self._pause
        release_strays(self._state.worker_id, self._buffer.held(), self._state.using)
