"""A worker takes ready jobs: PENDING becomes STARTED."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import OperationalError, connections

from ..db import Kind, dialect_for, kind_of, without_deadlock
from ..values import Claimed
from ..workflows.inputs import hand_over

# A claim that takes longer has read many entries that it could not claim. Per claim, per job.
_SLOW_SECONDS, _SLOW_SECONDS_A_JOB = 0.004, 0.00005
# A job that becomes ready before the remembered place may be found this much later.
_BEGINNING_SECONDS = 2.0

#: Where the ready jobs of each queue begin: the rank and the id of the first.
Beginnings = Mapping[str, tuple[int, UUID]]


class Claimer:
    """Claims as :func:`claim` does, and stays quick beside a transaction that is open for long.

    Such a transaction makes PostgreSQL keep the index entries of all jobs that ended since, and
    each claim reads them from the oldest on. A claim that was slow remembers where the ready jobs
    began. For two seconds, the next claims begin there. In that time they do not see an older job
    that becomes ready, such as a retried one. They see higher priorities at once.
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
        """Let the next claim look at all ready jobs, because older ones may have become ready."""
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

    Returns the jobs, and whether other transactions had locked more ready jobs at that moment. If
    they had, the queues are not empty. A worker whose lease has expired gets no job. On PostgreSQL,
    *beginnings* may name a place in a queue: older jobs of that rank may be left out.
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
    """Return the names of all queues that have pending jobs.

    The name ``@`` says that jobs are due for promotion, ``!`` that a worker has an open command.
    """
    connection = connections[using]
    with connection.cursor() as cursor:
        return dialect_for(connection).ready_queues(cursor)
