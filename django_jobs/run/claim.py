"""A worker takes ready jobs: PENDING becomes STARTED."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import OperationalError, connections

from ..db import Kind, dialect_for, kind_of, without_deadlock
from ..values import Claimed
from ..workflows.inputs import hand_over

# A claim that takes longer, for itself and for each job, walked over what it could not take.
_SLOW_SECONDS, _SLOW_SECONDS_A_JOB = 0.004, 0.00005
# How late a job may be found that became ready behind the place where the ready ones began.
_BEGINNING_SECONDS = 2.0

#: Where the ready jobs of each queue begin: the rank and the id of the first.
Beginnings = Mapping[str, tuple[int, UUID]]


class Claimer:
    """Claims as :func:`claim` does, and quickly too beside a transaction that stays open for long.

    While one is open, the database keeps the index entries of all jobs that ended since, and a
    claim walks over them from the oldest on. One that was slow remembers where the ready jobs
    began, and those after it begin there, for two seconds: so much later is a job seen that became
    ready meanwhile and is older, as a retried one is. Higher priorities are seen at once.
    """

    def __init__(self) -> None:
        self._beginnings: dict[str, tuple[int, UUID]] = {}
        self._hold_until = 0.0

    def claim(
        self, worker_id: UUID, queues: Sequence[str], limit: int, using: str
    ) -> tuple[list[Claimed], bool]:
        began = time.monotonic()
        known = self._beginnings if began < self._hold_until else {}
        jobs, contended = claim(worker_id, queues, limit, using, known)
        if known and not jobs and not contended:
            # Older ones that became ready are better than none.
            self.forget()
            return self.claim(worker_id, queues, limit, using)
        if not known:
            took = time.monotonic() - began
            slow = took > _SLOW_SECONDS + len(jobs) * _SLOW_SECONDS_A_JOB
            self._hold_until = began + _BEGINNING_SECONDS if slow else 0.0
        if self._hold_until:
            self._remember(jobs, known)
        return jobs, contended

    def forget(self) -> None:
        """Look at all ready jobs with the next claim: older ones may have become ready."""
        self._hold_until = 0.0

    def _remember(self, jobs: Sequence[Claimed], known: Beginnings) -> None:
        # Backwards, so that the first of each queue is what stays.
        for job in reversed(jobs):
            if job.queue not in known or job.rank == known[job.queue][0]:
                self._beginnings[job.queue] = (job.rank, job.id)


def claim(
    worker_id: UUID,
    queues: Sequence[str],
    limit: int,
    using: str,
    beginnings: Beginnings | None = None,
) -> tuple[list[Claimed], bool]:
    """Take up to *limit* jobs, by priority and age over all *queues*, in one transaction.

    Returns them, and whether there were more that other transactions had locked at that moment:
    the caller then must not take the queues for empty. A worker whose lease is over gets none. Of a
    queue that has a place in *beginnings*, older jobs of that rank may be left out (PostgreSQL).
    """
    if not queues or limit < 1:
        return [], False
    dialect = dialect_for(connections[using])
    try:
        jobs, contended = without_deadlock(
            using, lambda: dialect.claim(worker_id, queues, limit, beginnings or {})
        )
    except OperationalError as error:
        if kind_of(error) is not Kind.CONFLICT:
            raise
        return [], True
    hand_over(jobs, using)
    return jobs, contended


def ready_queues(using: str) -> list[str]:
    """Return the names of all queues that have pending jobs, and what else there is to do.

    That is ``@`` for jobs to promote and ``!`` for commands to obey.
    """
    connection = connections[using]
    with connection.cursor() as cursor:
        return dialect_for(connection).ready_queues(cursor)
