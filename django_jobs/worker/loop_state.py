"""The state that the parts of a worker's loop share."""

from __future__ import annotations

import dataclasses
from uuid import UUID

from .options import WorkerOptions
from .pace import Pace


@dataclasses.dataclass(slots=True)
class LoopState:
    """Other threads write it, too: each field is read and written as a whole."""

    #: The id in the rows of this worker's jobs. A worker that lost its lease gets a new one.
    worker_id: UUID
    options: WorkerOptions
    #: Only the loop's thread uses it.
    pace: Pace = dataclasses.field(default_factory=Pace)
    #: The worker claims no more jobs, and ends when its jobs have ended.
    stopping: bool = False
    #: The stop does not wait for a database that is away.
    given_up: bool = False
    #: The process ends because its jobs or its memory are used up. Another one replaces it.
    used_up: bool = False

    @property
    def using(self) -> str:
        """The alias of the database that has the jobs."""
        return self.options.using
