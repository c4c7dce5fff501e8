"""Many new jobs that differ only in their arguments, without a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from ..values import NewJob


class AlikeJobs(NamedTuple):
    """New jobs that differ only in their ids and their arguments.

    Thousands of them take a tenth of the objects that as many :class:`NewJob` do, which Python's
    garbage collector would look through again and again.
    """

    #: The first job, whose other columns are those of all.
    first: NewJob
    ids: Sequence[UUID]
    args: Sequence[str]
    kwargs: Sequence[str]

    def rows(self) -> list[NewJob]:
        """Return a row for each job."""
        same, others = self.first[1:5], self.first[7:]
        return [
            NewJob._make((job_id, *same, args, kwargs, *others))
            for job_id, args, kwargs in zip(self.ids, self.args, self.kwargs, strict=True)
        ]

    def piece(self, positions: Sequence[int]) -> AlikeJobs:
        """Return the jobs at *positions*, which follow each other."""
        at = slice(positions[0], positions[-1] + 1)
        return AlikeJobs(self.first, self.ids[at], self.args[at], self.kwargs[at])

    def __repr__(self) -> str:
        return f"AlikeJobs({len(self.ids)} of {self.first!r})"
