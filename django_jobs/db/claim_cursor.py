"""The place in PostgreSQL's index of ready jobs at which a worker's claims begin."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

# A claim that takes longer has read many entries that it could not claim. Per claim, per job.
SLOW_SECONDS, SLOW_SECONDS_A_JOB = 0.004, 0.00005
# A job that becomes ready before the remembered place may be found this much later.
HOLD_SECONDS = 2.0

#: The rank and the id of the first ready job of each queue.
Beginnings = Mapping[str, tuple[int, UUID]]


class Ready(Protocol):
    """A job that is ready, or was until its claim."""

    @property
    def id(self) -> UUID: ...
    @property
    def rank(self) -> int: ...
    @property
    def queue(self) -> str: ...


T = TypeVar("T", bound=Ready)


class ClaimCursor:
    """Keeps claims quick beside a transaction that is open for long.

    Such a transaction makes PostgreSQL keep the index entries of all jobs that ended since, and
    each claim reads them from the oldest on. A claim that was slow remembers where the ready jobs
    began. For *hold_seconds*, the next claims begin there. In that time they do not see an older
    job that becomes ready, such as a retried one. They see higher priorities at once.

    A claim is slow after *slow_seconds*, and so much longer for each job that it took. *clock*
    returns seconds, as :func:`time.monotonic` does.
    """

    def __init__(
        self,
        slow_seconds: float = SLOW_SECONDS,
        slow_seconds_a_job: float = SLOW_SECONDS_A_JOB,
        hold_seconds: float = HOLD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slow_seconds = slow_seconds
        self._slow_seconds_a_job = slow_seconds_a_job
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._beginnings: dict[str, tuple[int, UUID]] = {}
        self._hold_until = 0.0

    def claim(self, claim: Callable[[Beginnings], tuple[list[T], bool]]) -> tuple[list[T], bool]:
        """Claim by *claim*, which may leave out jobs that are older than the given beginnings.

        It may also return the jobs that would be claimed first.
        """
        began = self._clock()
        known = self._beginnings if began < self._hold_until else {}
        jobs, contended = claim(known)
        if known and not jobs and not contended:
            # Older ones that became ready are better than none.
            self.forget()
            return self.claim(claim)
        if not known:
            slow = self._slow_seconds + len(jobs) * self._slow_seconds_a_job
            self._hold_until = began + self._hold_seconds if self._clock() - began > slow else 0.0
        if self._hold_until:
            self._remember(jobs, known)
        return jobs, contended

    def forget(self) -> None:
        """Let the next claim look at all ready jobs, because older ones may have become ready."""
        self._hold_until = 0.0

    def _remember(self, jobs: Sequence[Ready], known: Beginnings) -> None:
        # Backwards, so that the first of each queue is what stays.
        for job in reversed(jobs):
            if job.queue not in known or job.rank == known[job.queue][0]:
                self._beginnings[job.queue] = (job.rank, job.id)
