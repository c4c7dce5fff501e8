"""A worker takes ready jobs: PENDING becomes STARTED."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import OperationalError, connections

from ..db import Kind, dialect_for, kind_of, without_deadlock
from ..define import registry
from ..define.fairness import fair_queues
from ..values import Claimed
from ..workflows.inputs import add_results


def claim(
    worker_id: UUID, queues: Sequence[str], limit: int, using: str
) -> tuple[list[Claimed], bool]:
    """Take up to *limit* jobs, by priority and age over all *queues*, in one transaction.

    In fair queues the keys take turns, with priority and age inside of a key.

    Returns the jobs, and whether other transactions had locked more ready jobs at that moment. If
    they had, the queues are not empty. A worker whose lease has expired gets no job. A crash of the
    database may take back the claims of jobs that may run again, and of no others.
    """
    if not queues or limit < 1:
        return [], False
    dialect = dialect_for(connections[using])
    fair = fair_queues()
    served = {queue: fair[queue] for queue in queues if queue in fair} if fair else {}
    plain = [queue for queue in queues if queue not in served] if served else queues
    try:
        jobs, contended = without_deadlock(
            using,
            lambda: (
                dialect.claim_in_turns(worker_id, plain, served, limit)
                if served
                else dialect.claim(worker_id, queues, limit)
            ),
        )
    except OperationalError as error:
        if kind_of(error) is not Kind.CONFLICT:
            raise
        return [], True
    if jobs:
        names = {job.name for job in jobs}
        dialect.keep_claims(not all(map(may_run_again, names)))
    add_results(jobs, using)
    return jobs, contended


def may_run_again(name: str) -> bool:
    """Return whether jobs of that *name* may run again after their body began: ``acks_late``."""
    function = registry.find(name)
    return function is None or function.options.acks_late


def expect_older(using: str) -> None:
    """Tell this thread's next claim that older jobs may have become ready."""
    dialect_for(connections[using]).expect_older()


def ready_queues(using: str) -> list[str]:
    """Return the names of all queues that have pending jobs.

    The name ``@`` says that jobs are due for promotion, ``!`` that a worker has an open command.
    """
    connection = connections[using]
    with connection.cursor() as cursor:
        return dialect_for(connection).ready_queues(cursor)
