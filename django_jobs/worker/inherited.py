"""What all processes of a ``runworker`` inherit. A worker without a supervisor has it alone."""

from __future__ import annotations

import dataclasses

from .dispatch_line import DispatchLine
from .roster import MOST, Roster


@dataclasses.dataclass(frozen=True, slots=True)
class Inherited:
    """The supervisor makes it before the first fork."""

    roster: Roster
    #: They lead from the workers to the coordinator: it passes on commands, and calls idle workers.
    commands: DispatchLine
    calls: DispatchLine

    @classmethod
    def new(cls, most: int = MOST) -> Inherited:
        """Return one for at most so many workers."""
        return cls(Roster(most), DispatchLine(), DispatchLine())
