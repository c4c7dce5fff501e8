"""A worker takes ready jobs: PENDING becomes STARTED."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import OperationalError, connections

from .dialects import dialect_for
from .handover import hand_over
from .values import Claimed

_DEADLOCK_TRIES = 5


def claim(
    worker_id: UUID, queues: Sequence[str], limit: int, using: str
) -> tuple[list[Claimed], bool]:
    """Take up to *limit* jobs, by priority and age over all *queues*, in one transaction.

    Returns them, and whether there were more that another worker had locked at that moment: the
    caller then asks again at once instead of taking the queues for empty. A worker whose lease is
    over gets none.
    """
    if not queues or limit < 1:
        return [], False
    dialect = dialect_for(connections[using])
    for _ in range(_DEADLOCK_TRIES):
        try:
            jobs, contended = dialect.claim(worker_id, queues, limit)
            break
        except OperationalError as error:
            if not dialect.is_deadlock(error):
                raise
    else:
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
