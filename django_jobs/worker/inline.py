"""Runs ready jobs in the caller's thread, in a worker's order, without a worker process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from ..define.context import JobContext
from ..limits.admission import Admission
from ..run.claim import claim
from ..run.environment import Environment
from ..run.execute import execute, execute_refusal
from ..run.hooks import conclude, tell_later
from ..run.outside_body import escaped
from ..run.reassert import reassert
from ..run.record import record, save_progress
from ..run.record_apart import record_apart
from ..steps.rows import RowStore
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

    *environment* is what the jobs run with; its ``using``, ``commit``, ``confirm`` and ``steps``
    are replaced, and without a ``report`` progress is written to the rows. *on_claim* is called
    with the claimed jobs, some of which limits may let wait. Outcomes that did not count, because
    someone else owns the job by then, are left out. An error of a job is its outcome; an error of
    the database is raised, and claimed jobs then stay STARTED.
    """
    recorder = _Recorder(worker_id, using)
    environment = dataclasses.replace(
        environment,
        using=using,
        report=environment.report or recorder.report,
        commit=recorder.commit,
        confirm=recorder.confirm,
        steps=RowStore(lambda: worker_id, using, reassert),
    )
    claimed, _contended = claim(worker_id, queues, limit, using)
    on_claim(claimed)
    jobs, refused = Admission(using).admit(worker_id, claimed)
    counted = recorder.record_rest([execute_refusal(job, error) for job, error in refused])
    return counted + recorder.record_rest([_execute(job, environment) for job in jobs])


class _Recorder:
    """Records how jobs ended: one by one if they have listeners, then all others together."""

    def __init__(self, worker_id: UUID, using: str) -> None:
        self._worker_id = worker_id
        self._using = using
        self._ends: dict[UUID, Outcome | None] = {}

    def report(self, context: JobContext, progress: dict[str, Any]) -> None:
        if context.request.uuid is not None:
            shown = {(context.request.uuid, context.claims): progress}
            save_progress(self._worker_id, shown, self._using)

    def commit(self, outcomes: Sequence[Outcome]) -> bool:
        return len(record(self._worker_id, outcomes, self._using)) == len(outcomes)

    def confirm(self, outcome: Outcome) -> Outcome | None:
        if outcome.job.id in self._ends:
            return None  # an error has left a hook; the outcome stands
        self._ends[outcome.job.id] = None
        for recorded in record_apart(self._worker_id, [outcome], self._using):
            self._ends[outcome.job.id] = recorded
        return self._ends[outcome.job.id]

    def record_rest(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Record and tell of what is left of the outcomes; return those that counted."""
        ends = self._ends
        # An atomic job's success was recorded in the body's transaction.
        ends.update((outcome.job.id, outcome) for outcome in outcomes if outcome.recorded)
        rest = [outcome for outcome in outcomes if outcome.job.id not in ends]
        for outcome in record_apart(self._worker_id, rest, self._using):
            ends[outcome.job.id] = outcome
            tell_later(outcome)
        return [end for each in outcomes if (end := ends.get(each.job.id)) is not None]


def _execute(job: Claimed, environment: Environment) -> Outcome:
    try:
        return execute(job, environment)
    except BaseException as error:  # as in a pool: the other jobs must run and be recorded
        return conclude(escaped(job, error), environment)
