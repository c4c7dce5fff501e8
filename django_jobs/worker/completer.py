"""Records how jobs ended."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from .. import log
from ..metrics.collector import Collector
from ..run.hooks import is_awaited, tell_later
from ..run.record_apart import record_apart
from ..status import Status
from ..values import Outcome
from .buffer import MAX_BATCH, JobBuffer
from .loop_state import LoopState
from .pace import VISIBLE_SECONDS


class Completer:
    """Gathers outcomes while jobs are short, and writes them with one statement.

    *on_recorded* is called with each batch that was written, *on_ready* with each queue that has
    new jobs by it, *on_freed* when a job has freed its permit under a concurrency limit.
    *before_write* is called with outcomes that are about to be written.
    """

    def __init__(
        self,
        state: LoopState,
        buffer: JobBuffer,
        collector: Collector,
        before_write: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
        *,
        on_recorded: Callable[[Sequence[Outcome]], None],
        on_ready: Callable[[str], None],
        on_freed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._buffer = buffer
        self._collector = collector
        self._on_recorded = on_recorded
        self._on_ready = on_ready
        self._on_freed = on_freed
        self._before_write = before_write
        # Ends that have listeners, while no slot tells them.
        self._untold: deque[Outcome] = deque()
        self._clock = clock

    def record(self) -> None:
        """Write the outcomes in the buffer if they need not wait for others."""
        ended = self._buffer.ended()
        if not ended or self._clock() < self._due_at(ended):
            return
        for start in range(0, len(ended), MAX_BATCH):
            batch = ended[start : start + MAX_BATCH]
            unrecorded = [outcome for outcome in batch if not outcome.recorded]
            began = self._clock()
            counted = self._write(unrecorded)
            self._state.pace.recorded(self._clock() - began)
            self._collector.ended(outcome for outcome in batch if outcome.recorded)
            self._buffer.recorded(len(batch))
            self._on_recorded(batch)
            self._tell(unrecorded, counted)

    def due_at(self) -> float:
        """Return the moment of the clock at which :meth:`record` writes the outcomes."""
        ended = self._buffer.ended()
        return self._due_at(ended) if ended else math.inf

    def _due_at(self, ended: Sequence[Outcome]) -> float:
        waiting, running, _ended = self._buffer.counts()
        # When no job waits for its slot, no other outcome would share the write.
        alone = waiting <= max(0, self._state.options.slots - running)
        if alone or len(ended) >= MAX_BATCH or self._buffer.confirmations.urgent:
            return 0.0
        return ended[0].ended + self._state.pace.gather_seconds

    def goes_first(self) -> bool:
        """Return whether the outcomes in the buffer must be written before the next claim.

        Some outcomes make jobs ready that the claim should find: they free a permit, or jobs
        depend on them. Some have waited so long that they would be written too late after a claim.
        """
        ended = self._buffer.ended()
        if not ended or self._buffer.confirmations.urgent:
            return True
        age = self._clock() - ended[0].ended
        if age + self._state.pace.cycle_seconds > VISIBLE_SECONDS:
            return True
        return any(outcome.job.permits or outcome.is_followed for outcome in ended)

    def write(self, outcomes: list[Outcome]) -> None:
        """Write these outcomes at once; they need not be in the buffer."""
        self._tell(outcomes, self._write(outcomes))

    def _write(self, outcomes: list[Outcome]) -> list[Outcome]:
        self._before_write(outcomes)
        counted = record_apart(
            self._state.worker_id, outcomes, self._state.using, on_ready=self._on_ready
        )
        self._collector.ended(counted)
        if any(outcome.job.permits for outcome in outcomes):
            self._on_freed()
        return counted

    def _tell(self, outcomes: list[Outcome], counted: list[Outcome]) -> None:
        """Let slots go on that wait for the record; tell of the other ends."""
        # A refused outcome has another one in its place, of the same job.
        recorded = {id(each.job): each for each in counted}
        confirmations, logs_each = self._buffer.confirmations, log.logs_successes()
        asked = bool(confirmations)  # a slot asks before it hands its outcome in
        for outcome in outcomes:
            end = recorded.get(id(outcome.job))
            if asked and confirmations.answer(outcome, end):
                continue
            if end is None or end.told:
                continue
            if end is outcome and (end.status == Status.SUCCESS or end.variables is not None):
                # It had no listeners when the body ended.
                if logs_each or end.status != Status.SUCCESS:
                    tell_later(end)
            elif is_awaited(end):
                self._untold.append(end)
            else:
                tell_later(end)

    def tell_rest(self) -> None:
        """Tell listeners of the ends that no slot tells them. It is safe from any thread.

        They may take long, so the loop leaves it to another thread while it runs.
        """
        with contextlib.suppress(IndexError):
            while True:
                tell_later(self._untold.popleft())
