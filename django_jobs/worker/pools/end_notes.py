"""The ends of jobs that must not run twice, noted for the supervisor until they are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ...values import Claimed, Outcome
from ..shared_slots import SharedSlots


class EndNotes:
    """Notes the ends of jobs with ``acks_late=False``: they must not run again after a crash."""

    def __init__(self, shared_slots: SharedSlots) -> None:
        self._shared_slots = shared_slots
        #: The jobs that run now; most processes have none.
        self.running: set[tuple[UUID, int]] = set()
        # Where the ends of other jobs are noted.
        self._unrecorded: dict[tuple[UUID, int], int] = {}

    def begins(self, job: Claimed) -> None:
        """Have the end of *job* noted."""
        self.running.add((job.id, job.claims))

    def ended(self, job: Claimed) -> None:
        """Note the end of *job* if :meth:`begins` asked for that."""
        if (key := (job.id, job.claims)) in self.running:
            self.running.discard(key)
            self._unrecorded[key] = self._shared_slots.keep_end(*key)

    def recorded(self, outcomes: Sequence[Outcome]) -> None:
        """Remove the notes of jobs that are recorded; the loop's thread calls this."""
        if self._unrecorded:
            for outcome in outcomes:
                position = self._unrecorded.pop((outcome.job.id, outcome.job.claims), None)
                if position is not None:
                    self._shared_slots.forget_end(position)
