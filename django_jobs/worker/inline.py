"""Runs ready jobs in the caller's thread, in a worker's order, without a worker process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from uuid import UUID

from .. import log
from ..limits.admission import Admission
from ..run.claim import claim
from ..run.environment import Environment
from ..run.execute import execute, execute_refusal
from ..run.outside_body import escaped
from ..run.record import record
from ..run.record_apart import record_apart
from ..values import Claimed, Outcome


def run_ready(
    worker_id: UUID,
    queues: Sequence[str],
    *,
    using: str,
    limit: int,
    environment: Environment,
    on_claim: Callable[[Sequence[Claimed]], object] = lambda jobs: None,
) -> list[Outcome]:
    """Claim, admit, execute and record up to *limit* ready jobs of *queues*; return how they ended.

    It works once, in this thread and over this thread's connections, as the caller left them. It
    promotes no job whose time has come, never sleeps, and does not run what the jobs enqueue: call
    it again for that. The row of the worker *worker_id* must have a lease, or no job is claimed.

    *environment* is what the jobs run with; its ``using`` and ``commit`` are replaced. *on_claim*
    is called with the claimed jobs, some of which limits may let wait. Outcomes
    that did not count, because someone else owns the job by then, are left out. An error of a job
    is its outcome; an error of the database is raised, and claimed jobs then stay STARTED.
    """

    def commit(outcome: Outcome) -> bool:
        return len(record(worker_id, [outcome], using)) == 1

    environment = dataclasses.replace(environment, using=using, commit=commit)
    claimed, _contended = claim(worker_id, queues, limit, using)
    on_claim(claimed)
    jobs, refused = Admission(using).admit(worker_id, claimed)
    outcomes = [execute_refusal(job, error) for job, error in refused]
    counted = record_apart(worker_id, outcomes, using)
    outcomes = [_execute(job, environment) for job in jobs]
    # An atomic job's success was recorded in the body's transaction.
    unrecorded = [outcome for outcome in outcomes if not outcome.recorded]
    written = {each.job.id: each for each in record_apart(worker_id, unrecorded, using)}
    return counted + [
        written.get(each.job.id, each)
        for each in outcomes
        if each.recorded or each.job.id in written
    ]


def _execute(job: Claimed, environment: Environment) -> Outcome:
    try:
        return execute(job, environment)
    except BaseException as error:  # as in a pool: the other jobs must run and be recorded
        outcome = escaped(job, error)
        log.job_ended(outcome)
        return outcome
