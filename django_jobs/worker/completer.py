"""Records how jobs ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..metrics.collector import Collector
from ..run.record_apart import record_apart
from ..values import Outcome
from .buffer import MAX_BATCH, JobBuffer
from .loop_state import LoopState

# An outcome waits so long for others to be written with it; far below the 50 ms that are promised.
GATHER_SECONDS = 0.01


class Completer:
    """Gathers outcomes while jobs are short, and writes them with one statement.

    *on_recorded* is called with each batch that was written, *on_ready* with each queue that has
    new jobs by it, *on_freed* when a job has freed its permit under a concurrency limit.
    """

    def __init__(
        self,
        state: LoopState,
        buffer: JobBuffer,
        collector: Collector,
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
        self._clock = clock

    def record(self, now: bool) -> None:
        """Write the outcomes in the buffer; without *now* they may wait for others."""
        ended = self._buffer.ended()
        if not ended:
            return
        waiting, _running, _ended = self._buffer.counts()
        age = self._clock() - ended[0].ended
        # When no job waits to run beside it, no other outcome would share the write.
        if now or not waiting or age >= GATHER_SECONDS or len(ended) >= MAX_BATCH:
            for start in range(0, len(ended), MAX_BATCH):
                batch = ended[start : start + MAX_BATCH]
                self.write([outcome for outcome in batch if not outcome.recorded])
                self._collector.ended(outcome for outcome in batch if outcome.recorded)
                self._buffer.recorded(len(batch))
                self._on_recorded(batch)

    def write(self, outcomes: list[Outcome]) -> None:
        """Write these outcomes at once; they need not be in the buffer."""
        self._collector.ended(
            record_apart(
                self._state.worker_id, outcomes, self._state.using, on_ready=self._on_ready
            )
        )
        if any(outcome.job.permits for outcome in outcomes):
            self._on_freed()
