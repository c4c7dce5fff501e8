"""Runs batches in the slots of a pool: one body, and an outcome for each of its jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING
from uuid import UUID

from ... import log
from ...db.attempts import begin_attempt, end_attempt
from ...define.batch import jobs_of
from ...run import forks
from ...run.batch_ends import BatchExecution
from ...run.environment import Environment
from ...run.execute import execute_batch
from ...run.outside_body import escaped
from ...values import Batch, Outcome
from .deadlines import deadline

if TYPE_CHECKING:
    from .base import Pool


class Batches:
    """The batches of one pool. The jobs of a batch share its slot from begin to end."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # The batch of each slot whose body runs or whose records are waited for.
        self._running: dict[int, BatchExecution] = {}
        # The slots whose outcomes the buffer has already.
        self._handed_in: set[int] = set()

    def run(self, slot: int, batch: Batch, environment: Environment) -> None:
        """Run one attempt at the jobs of *batch* in this thread."""
        with log.working_as(self._pool.setup.name):
            begin_attempt()
            before = forks.generation
            try:
                outcomes = execute_batch(batch.jobs, environment)
            except BaseException as error:  # after any error the slot must become free
                outcomes = [escaped(job, error) for job in batch.jobs]
            if forks.generation != before:  # a hook or a receiver has forked
                forks.leave(None)
            # Hooks and receivers may have used the sessions after the body.
            end_attempt()
            self.ended(slot, outcomes)

    def begins(self, slot: int, execution: BatchExecution) -> None:
        """Show the supervisor the jobs of a batch, and when to kill the process."""
        self._running[slot] = execution
        self._show(slot, execution, execution.time_limit)

    def revoke(self, job_id: UUID, claims: int) -> bool:
        """Tell a running call that its job is revoked; return False when it is not here.

        The body is not stopped: it runs for others, too.
        """
        for execution in list(self._running.values()):
            for member in execution.members:
                if (member.job.id, member.job.claims) == (job_id, claims):
                    member.context.revoked = True
                    return True
        return False

    def slots_of(self, job_id: UUID, claims: int) -> list[int]:
        """Return the slot that runs a call of the job, or none."""
        return [
            slot
            for slot, execution in list(self._running.items())
            if any((one.job.id, one.job.claims) == (job_id, claims) for one in execution.members)
        ]

    def _show(self, slot: int, execution: BatchExecution, limit: float | None) -> None:
        setup, began = self._pool.setup, time.monotonic()
        first, *others = [(job.id, job.claims) for job in jobs_of(execution.context)]
        until = deadline(setup.options.pool, began, limit) if limit else 0.0
        setup.shared_slots.begin(slot, *first, began, until, others)

    def ask(self, slot: int, outcomes: Sequence[Outcome]) -> list[Future[Outcome | None]]:
        """Have the outcomes of a batch recorded together while its slot stays taken."""
        execution = self._leave(slot)
        if execution is not None:
            if execution.function.options.acks_late:
                self._pool.setup.shared_slots.end(slot)
            else:
                # If the process dies before the record, the jobs must not run again.
                self._show(slot, execution, None)
        self._handed_in.add(slot)
        confirmations = self._pool.buffer.confirmations
        asked = [confirmations.ask(outcome) for outcome in outcomes]
        self._pool.buffer.hand_in(*outcomes)
        return asked

    def confirm(self, slot: int, outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        """Wait until the outcomes are recorded; return what the rows have."""
        execution = self._running.get(slot)
        recorded = [future.result() for future in self.ask(slot, outcomes)]
        if execution is not None and self._pool.setup.options.pool == "prefork":
            # The hard limit holds for the hooks anew. A kill then finds that the jobs have ended.
            self._show(slot, execution, execution.time_limit)
        return recorded

    def ended(self, slot: int, outcomes: Sequence[Outcome]) -> None:
        """Free the slot, and hand in the outcomes that the buffer has not yet."""
        pool = self._pool
        pool.put_back(outcomes[0].job)
        self._leave(slot)
        pool.setup.shared_slots.end(slot)
        handed_in = slot in self._handed_in
        self._handed_in.discard(slot)
        pool.buffer.end(slot, *outcomes, handed_in=handed_in)

    def _leave(self, slot: int) -> BatchExecution | None:
        """Note that the body has ended: a revoke comes too late."""
        return self._running.pop(slot, None)
