"""A job that was in a crash runs alone, so that another crash harms no other job."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..run.outside_body import postponed
from ..run.release import release
from ..values import Claimed, Outcome
from .buffer import JobBuffer
from .loop_state import LoopState
from .releaser import RELEASE_SECONDS

# A busy worker leaves such a job to other workers so often.
POSTPONEMENTS = 5


class Quarantine:
    """Keeps one such job aside until the worker is idle; meanwhile the worker claims nothing.

    *start* hands jobs to the pool and returns whether one of them may run; *write* records
    outcomes.
    """

    def __init__(
        self,
        state: LoopState,
        buffer: JobBuffer,
        *,
        start: Callable[[list[Claimed]], bool],
        write: Callable[[list[Outcome]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._buffer = buffer
        self._start = start
        self._write = write
        self._clock = clock
        #: Whether the last claim had such a job. The jobs of a dead host come together, and each
        #: needs this worker for itself: the next claim takes one job only.
        self.is_wary = False
        self._alone = False
        self._since = 0.0

    def separate(self, jobs: list[Claimed]) -> list[Claimed]:
        """Set one job that was in a crash aside and release the others; return the rest."""
        suspects = [job for job in jobs if job.crashes]
        self.is_wary = bool(suspects)
        if not suspects:
            return jobs
        self._since = self._clock()
        self._buffer.aside = suspects[0]
        release(self._state.worker_id, suspects[1:], self._state.using)
        return [job for job in jobs if not job.crashes]

    def is_on(self) -> bool:
        """Return whether a job runs alone or waits to."""
        self._alone = self._alone and any(self._buffer.counts())
        return self._alone or self._buffer.aside is not None

    def due_at(self, busy: bool) -> float | None:
        """Return the moment of *clock* at which :meth:`begin` does something.

        None when no job waits, or when it waits for the end of the running jobs, however long they
        run. *busy* tells whether jobs run or wait in the buffer.
        """
        suspect = self._buffer.aside
        if suspect is None:
            return None
        if not busy:
            return 0.0
        return self._since + RELEASE_SECONDS if suspect.deferrals < POSTPONEMENTS else None

    def begin(self) -> None:
        """Start the job that waits once the worker is idle; release it when the worker stops."""
        suspect = self._buffer.aside
        if suspect is None:
            return
        busy = any(self._buffer.counts())
        ends = self._state.stopping or self._buffer.spent
        # A worker that stays busy leaves the job to an idle one, as its other slots stay empty
        # meanwhile. It does so a few times only: where all workers are busy, it would never run.
        late = self._clock() >= self._since + RELEASE_SECONDS
        leaves = late and suspect.deferrals < POSTPONEMENTS
        # An operator may terminate the job at any moment: then it is no longer in the buffer.
        if (busy and not ends and not leaves) or self._buffer.take_aside() is None:
            return
        if ends:
            release(self._state.worker_id, [suspect], self._state.using)
        elif busy:
            self._write([postponed(suspect)])
        else:
            self._alone = self._start([suspect])
