from __future__ import annotations

import abc
import contextvars
import dataclasses
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import FrameType
from typing import Any
from uuid import UUID

from ... import log
from ...db.attempts import begin_attempt, end_attempt
from ...db.session import distrust
from ...define.context import JobContext
from ...process.memory import resident_bytes
from ...run import forks
from ...run.batch_ends import BatchExecution
from ...run.execute import Environment, execute_here
from ...run.hooks import conclude, tell_later
from ...run.outcome import Execution
from ...run.outside_body import escaped
from ...steps.journal import Store
from ...values import Batch, Claimed, Outcome, Work
from ..buffer import JobBuffer
from ..isolation import Isolation
from ..options import WorkerOptions, unable
from ..shared_slots import SharedSlots
from .batches import Batches
from .deadlines import deadline
from .end_notes import EndNotes

_log = logging.getLogger("django_jobs.worker")

# One statement records the ends of jobs that are shorter, also where a slot tells of each.
_SHORT_SECONDS = 0.01


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
    commit: Callable[[Sequence[Outcome]], bool]
    #: Where the steps of the jobs are kept.
    steps: Store | None = None
    #: Called when a job could not connect to the database of the jobs.
    refused: Callable[[BaseException], None] = lambda error: None
    #: Stops the worker warmly.
    stop: Callable[[], object] = lambda: None

    def take(self, time_limits: Mapping[str, tuple[float | None, float | None]]) -> None:
        """Work by other time limits from now on; an operator gave them."""
        self.time_limits.update(time_limits)
        for name in self.time_limits.keys() - time_limits.keys():
            del self.time_limits[name]


class Pool(abc.ABC):
    """Runs the jobs of the buffer until it is closed, and puts their outcomes into it."""

    def __init__(self, setup: PoolSetup) -> None:
        self.setup = setup
        self.buffer = setup.buffer
        self.contexts: dict[int, JobContext] = {}  # by slot
        self._end_notes = EndNotes(setup.shared_slots)
        # The slots whose outcomes the buffer has already.
        self._handed_in: set[int] = set()
        # Of each slot that runs short jobs one after the other: the ends that it has yet to tell.
        self._untold: dict[int, deque[tuple[Outcome, Future[Outcome | None]]]] = {}
        self.isolation = Isolation()
        self.batches = Batches(self)

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
        found = [each for each in list(self.contexts.values()) if is_of(each, job_id, claims)]
        for context in found:
            context.revoked = True
        return bool(found) or self.batches.revoke(job_id, claims)

    @abc.abstractmethod
    def frames(self, slot: int, key: tuple[UUID, int]) -> list[FrameType]:
        """Return the frames of the job in *slot*; *key* has its id and its claims."""

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
            unable=functools.partial(unable, options.pool),
            begins=functools.partial(self._begins, slot),
            commit=self.setup.commit,
            steps=self.setup.steps,
            confirm=functools.partial(self._confirm, slot),
            confirm_all=functools.partial(self.batches.confirm, slot),
            refused=self.setup.refused,
            tidy=end_attempt,
            **others,
        )

    def work(self, slot: int, environment: Environment) -> None:
        """Run the jobs of *slot*, one after the other, in this thread."""
        untold: deque[tuple[Outcome, Future[Outcome | None]]] = deque()
        if not environment.middleware:  # which is around the hooks of the end
            self._untold[slot] = untold
        while True:
            if untold:
                self._tell(slot, wait=not _is_busy(self.buffer))
            # Another slot may have taken the jobs that waited.
            job = self.buffer.take(slot, wait=not untold)
            if job is not None:
                self.run_one(slot, job, environment)
            elif untold:
                self._tell(slot, wait=True)
            else:
                break

    def run_one(self, slot: int, job: Work, environment: Environment) -> None:
        """Run one job; its context variables, language and time zone end with it."""
        if isinstance(job, Batch):
            self.batches.run(slot, job, environment)
        else:
            contextvars.copy_context().run(self._run_here, slot, job, environment)

    def _run_here(self, slot: int, job: Claimed, environment: Environment) -> None:
        begin_attempt()
        before = forks.generation
        try:
            outcome = execute_here(job, environment)
        except BaseException as error:  # after any error the slot must become free
            outcome = conclude(escaped(job, error), environment)
        if forks.generation != before:  # a hook or a receiver has forked
            forks.leave(None)
        # Hooks and receivers may have used the sessions after the body.
        end_attempt()
        self.ended(slot, job, outcome)

    def ended(self, slot: int, job: Claimed, outcome: Outcome) -> None:
        self.put_back(job)
        handed_in = slot in self._handed_in
        if handed_in:
            self._handed_in.discard(slot)
            self.setup.shared_slots.end(slot)
        else:
            self._leave(slot, job)
        self.buffer.end(slot, outcome, handed_in=handed_in)

    def put_back(self, after: Claimed) -> None:
        """Restore what the job *after* changed; otherwise let the process be replaced."""
        reason = self.isolation.end()
        limit = self.setup.options.max_memory
        if limit is not None and (resident_bytes() or 0) > limit * 1024:
            reason = reason or f"it holds more memory than {limit} KiB"
        if reason:
            _log_replacement(self.setup.name, after, reason)
            self.buffer.hand_out_no_more()

    def _leave(self, slot: int, job: Claimed) -> None:
        """Note that the body has ended: nothing can stop it any more."""
        self.contexts.pop(slot, None)
        if self._end_notes.running:
            self._end_notes.ended(job)
        self.setup.shared_slots.end(slot)

    def ask(self, slot: int, outcome: Outcome) -> Future[Outcome | None]:
        """Have an outcome recorded while its slot stays taken; return what is recorded."""
        self._leave(slot, outcome.job)
        self._handed_in.add(slot)
        recorded = self.buffer.confirmations.ask(outcome)
        self.buffer.hand_in(outcome)
        return recorded

    def _confirm(self, slot: int, outcome: Outcome) -> Outcome | None:
        untold = self._untold.get(slot)
        if slot in self._handed_in or (untold and untold[-1][0].job is outcome.job):
            return None  # an error came after the end; one record is asked for
        if untold is not None and (untold or _is_busy(self.buffer)):
            # One statement records the ends of many short jobs; later the slot tells of each.
            outcome.variables = contextvars.copy_context()
            untold.append((outcome, self.buffer.confirmations.ask(outcome, urgent=False)))
            return None
        recorded = self.ask(slot, outcome).result()
        if recorded is not None:
            self._show_hooks(slot, outcome)
        return recorded

    def _tell(self, slot: int, *, wait: bool) -> None:
        """Tell of the ends in *slot* that are recorded; *wait* until all of them are."""
        untold = self._untold[slot]
        if wait:
            self.buffer.confirmations.hurry()
        elif not untold[0][1].done():
            return
        began = time.monotonic()
        while untold and (wait or untold[0][1].done()):
            outcome, asked = untold.popleft()
            self.buffer.hold(slot, outcome.job)
            recorded = asked.result()
            if recorded is None:
                continue
            with log.working_as(self.setup.name, outcome.job):
                begin_attempt()
                before = forks.generation
                self._show_hooks(slot, outcome)
                tell_later(recorded, outcome.variables)
                if forks.generation != before:
                    forks.leave(None)
                end_attempt()
                self.setup.shared_slots.end(slot)
                self.put_back(outcome.job)
        # Not in between: a hook may enqueue, and a burst ends when all slots are free.
        self.buffer.free(slot, time.monotonic() - began)

    def recorded(self, outcomes: Sequence[Outcome]) -> None:
        """Note that these outcomes are recorded; the loop's thread calls this."""
        self._end_notes.recorded(outcomes)

    def _begins(self, slot: int, execution: Execution) -> None:
        if isinstance(execution, BatchExecution):
            self.batches.begins(slot, execution)
            return
        self.contexts[slot] = execution.context
        if not execution.function.options.acks_late:
            self._end_notes.begins(execution.job)
        self._show(slot, execution, execution.began)

    def _show_hooks(self, slot: int, outcome: Outcome) -> None:
        """Let the hard limit hold for the hooks anew. A kill then finds that the job has ended."""
        if outcome.execution is not None:
            self._show(slot, outcome.execution, time.monotonic())

    def _show(self, slot: int, execution: Execution, began: float) -> None:
        """Show the supervisor what runs in the slot, and when to kill the process."""
        job, limit = execution.job, execution.time_limit
        until = deadline(self.setup.options.pool, began, limit) if limit else 0.0
        self.setup.shared_slots.begin(slot, job.id, job.claims, began, until)


def _log_replacement(worker_name: str, after: Claimed, reason: str) -> None:
    _log.warning(
        "process is replaced name=%s after=%s job=%s reason=%s",
        worker_name,
        after.name,
        after.id,
        reason,
        extra={"job_id": str(after.id)},
    )


def is_of(context: JobContext, job_id: UUID, claims: int) -> bool:
    job = context.claimed
    return job is not None and job.id == job_id and job.claims == claims


def _is_busy(buffer: JobBuffer) -> bool:
    """Return whether jobs are short and more of them wait."""
    waiting, _running, _ended = buffer.counts()
    return waiting > 0 and buffer.run_seconds < _SHORT_SECONDS
