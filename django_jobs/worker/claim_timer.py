"""When a worker looks for jobs."""

from __future__ import annotations

import time
from collections.abc import Callable

# Thundering-herd damping: a full worker, or one that lost the last race, waits so long before it
# claims. Of many sleeping workers one wakes for each job, and the others do not delay it.
PATIENCE_SECONDS = 0.002
# While other transactions hold all ready jobs, a worker looks again after such pauses. A commit
# announces the jobs that it makes ready; a rollback announces nothing.
SHORTEST_LOCKED, LONGEST_LOCKED = 0.002, 0.25


class ClaimTimer:
    """Says when the worker claims next, from what it heard and what its last claim found.

    A full worker, or one that lost the last race, claims *patience* seconds after a notification.
    *clock* returns seconds, as :func:`time.monotonic` does. All moments are of that clock; 0 is
    "at once".
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._clock = clock
        self._patience = patience
        #: Whether the last claim found no job, and no other one may have become ready since.
        self.found_nothing = False
        self._look_at = 0.0
        self._heard_at: float | None = None
        self._came_late = False
        self._locked_pause = 0.0
        self._anew = False

    def next_look(self, is_full: Callable[[], bool]) -> float:
        """Return the moment of the next claim; *is_full* tells whether no slot is free."""
        if self._anew:
            return 0.0
        if self._heard_at is None:
            return self._look_at
        others_first = self._came_late or is_full()
        return min(self._look_at, self._heard_at + (self._patience if others_first else 0.0))

    def look(self, after: float = 0.0) -> None:
        """Claim after so many seconds, whatever the last claim found."""
        self._look_at = self._clock() + after if after else 0.0
        self.found_nothing = False

    def heard(self) -> None:
        """Note a notification of new jobs."""
        # The first one counts: many that follow it closely must not put the claim off.
        if self._heard_at is None:
            self._heard_at = self._clock()

    def look_anew(self) -> None:
        """Claim at once: the worker's options have changed. Safe from any thread."""
        self._anew = True

    def begin(self) -> bool:
        """Note that a claim begins; return whether the options have changed since the last one."""
        anew, self._anew = self._anew, False
        return anew

    def looked(self, found: bool, locked: bool, pause: float) -> None:
        """Note what a claim found, and claim again after *pause* seconds.

        *locked* says that other transactions held ready jobs. A claim that found only such jobs is
        followed by pauses of its own, longer each time.
        """
        self.found_nothing = not found and not locked
        if found or self._heard_at is not None:
            self._came_late = not found
        self._heard_at = None
        if locked and not found:
            self._locked_pause = min(LONGEST_LOCKED, 2 * self._locked_pause or SHORTEST_LOCKED)
            pause = self._locked_pause
        else:
            self._locked_pause = 0.0
        self._look_at = self._clock() + pause if pause else 0.0
