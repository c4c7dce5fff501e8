"""Steps of jobs that run in the caller's process, without rows."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ..values import Claimed, Outcome
from .journal import Child
from .recorded import Recorded


class MemoryStore:
    """Keeps steps as long as the eager run lasts, so that the retries of its jobs find them."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._steps: dict[UUID, dict[str, Recorded]] = {}
        #: The jobs that ran as children of others.
        self.ended: dict[UUID, Child] = {}

    def load(self, job: Claimed) -> Sequence[Recorded]:
        return list(self._steps.get(job.id, {}).values())

    def record(self, job: Claimed, step: Recorded) -> None:
        self._steps.setdefault(job.id, {})[step.key] = step

    def children(self, ids: Sequence[UUID]) -> dict[UUID, Child]:
        return {each: self.ended[each] for each in ids if each in self.ended}

    def end(self, outcome: Outcome) -> None:
        """Keep what the end of a run writes; no wait is waited for, so each is over at once."""
        for written in outcome.steps:
            step: Recorded = written.step
            step.is_due = True
            self.record(outcome.job, step)
