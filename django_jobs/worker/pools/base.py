from __future__ import annotations

import abc
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from ... import log
from ...db.attempts import begin_attempt, end_attempt
from ...db.session import distrust
from ...define.context import JobContext
from ...process.memory import resident_bytes
from ...run import forks
from ...run.execute import Environment, execute
from ...run.outcome import Execution
from ...run.outside_body import escaped
from ...values import Claimed, Outcome
from ..buffer import JobBuffer
from ..isolation import Isolation
from ..options import WorkerOptions, unable
from ..shared_slots import SharedSlots

_log = logging.getLogger("django_jobs.worker")


@dataclasses.dataclass(frozen=True, slots=True)
class PoolSetup:
    """The parts of a worker process that its pool uses."""

    name: str
    options: WorkerOptions
    buffer: JobBuffer
    shared_slots: SharedSlots
    #: :attr:`WorkerOptions.time_limits`; operators change them while the pool runs.
    time_limits: dict[str, tuple[float | None, float | None]]
    report: Callable[[JobContext, dict[str, Any]], None]
    commit: Callable[[Outcome], bool]
    #: Called when a job could not connect to the database of the jobs.
    refused: Callable[[BaseException], None] = lambda error: None


class Pool(abc.ABC):
    """Runs the jobs of the buffer until it is closed, and puts their outcomes into it."""

    def __init__(self, setup: PoolSetup) -> None:
        self.setup = setup
        self.buffer = setup.buffer
        self._contexts: dict[tuple[UUID, int], JobContext] = {}
        # Jobs with acks_late=False, while they run; and where the shared_slots notes their ends.
        self._once: set[tuple[UUID, int]] = set()
        self._unrecorded: dict[tuple[UUID, int], int] = {}
        self.isolation = Isolation()

    @abc.abstractmethod
    def run(self) -> None:
        """Run jobs until the buffer is closed; the process's main thread calls this."""

    def wake(self) -> None:
        """Look into the buffer; the loop's thread calls this after it filled or closed it."""

    def stop_now(self) -> None:
        """Stop the running jobs, where the pool can do so without killing the process."""

    def distrust_connections(self) -> None:
        """Check the jobs' connections before their next use: the database was away."""
        distrust()

    def terminate(self, job_id: UUID, claims: int) -> bool:
        """Stop one running job, whose row is revoked already; return False when it is not here.

        A pool that cannot stop a job only sets ``current_job.revoked``.
        """
        context = self._contexts.get((job_id, claims))
        if context is not None:
            context.revoked = True
        return context is not None

    def environment(self, slot: int, **others: Any) -> Environment:
        """Return what the jobs in *slot* run with."""
        options = self.setup.options
        return Environment(
            worker_name=self.setup.name,
            using=options.using,
            report=self.setup.report,
            time_limit=options.time_limit,
            soft_time_limit=options.soft_time_limit,
            time_limits=self.setup.time_limits,
            unable=lambda request, function: unable(
                options.pool, function, request.time_limit, request.soft_time_limit
            ),
            begins=lambda execution: self._begins(slot, execution),
            commit=self.setup.commit,
            refused=self.setup.refused,
            tidy=end_attempt,
            **others,
        )

    def work(self, slot: int, environment: Environment) -> None:
        """Run the jobs of *slot*, one after the other, in this thread."""
        while (job := self.buffer.take(slot)) is not None:
            self.run_one(slot, job, environment)

    def run_one(self, slot: int, job: Claimed, environment: Environment) -> None:
        begin_attempt()
        before = forks.generation
        try:
            outcome = execute(job, environment)
        except BaseException as error:  # after any error the slot must become free
            outcome = escaped(job, error)
            log.job_ended(outcome)
        if forks.generation != before:  # a hook or a receiver has forked
            forks.leave(None)
        # Hooks and signal receivers ran after the body, and may have used the sessions.
        end_attempt()
        self.ended(slot, job, outcome)

    def ended(self, slot: int, job: Claimed, outcome: Outcome) -> None:
        reason = self.isolation.end()
        self._contexts.pop((job.id, job.claims), None)
        if self._once:
            self._keep_end(job)
        self.setup.shared_slots.end(slot)
        limit = self.setup.options.max_memory
        if limit is not None and (resident_bytes() or 0) > limit * 1024:
            reason = reason or f"it holds more memory than {limit} KiB"
        if reason:
            _log.warning("process is replaced name=%s reason=%s", self.setup.name, reason)
            self.buffer.hand_out_no_more()
        self.buffer.end(slot, outcome)

    def recorded(self, outcomes: Sequence[Outcome]) -> None:
        """Remove the notes of :meth:`_keep_end`; the loop's thread calls this."""
        if self._unrecorded:
            for outcome in outcomes:
                position = self._unrecorded.pop((outcome.job.id, outcome.job.claims), None)
                if position is not None:
                    self.setup.shared_slots.forget_end(position)

    def _keep_end(self, job: Claimed) -> None:
        """Note the end for the supervisor: the job must not run again if this process dies now."""
        key = (job.id, job.claims)
        if key in self._once:
            self._once.discard(key)
            self._unrecorded[key] = self.setup.shared_slots.keep_end(*key)

    def _begins(self, slot: int, execution: Execution) -> None:
        job, request = execution.job, execution.context.request
        self._contexts[job.id, job.claims] = execution.context
        limit = request.time_limit if self.setup.options.pool == "prefork" else None
        deadline = execution.began + limit if limit else 0.0
        if not execution.function.options.acks_late:
            self._once.add((job.id, job.claims))
        self.setup.shared_slots.begin(slot, job.id, job.claims, execution.began, deadline)
