"""Memory that the processes of a ``runworker`` share: which workers live, and their leases."""

from __future__ import annotations

import enum
import math
import mmap
from collections.abc import Iterator
from uuid import UUID

from ..process.renewal import Sign

#: The most worker processes of one ``runworker``.
MOST = 4096

# 64-bit numbers of an entry: two cache lines, so that no two processes write the same line.
_WIDTH = 16
_HALF = 64
_MASK = (1 << _HALF) - 1
# In the place of a moment: the worker was taken for dead.
_LOST = -1


class _Field(enum.IntEnum):
    """The numbers of an entry. The worker writes the first eight, the coordinator the others."""

    IS_HERE = 0
    ID_HIGH = 1
    ID_LOW = 2
    SEEN_AT = 3
    BUSY = 4
    DONE = 5
    MEMORY = 6
    STOPPING = 7
    FOR_HIGH = 8
    FOR_LOW = 9
    UNTIL = 10


class Roster:
    """One entry for each index of a worker process, and the number of entries in use.

    A process reads and writes each number as a whole, so none is ever read half-written. Two
    numbers that belong together are guarded by their order: see :class:`Place`.
    """

    def __init__(self, most: int = MOST) -> None:
        self._memory = mmap.mmap(-1, (most + 1) * _WIDTH * 8)
        self._numbers = memoryview(self._memory).cast("q")
        self._most = most

    def place(self, index: int) -> Place:
        """Return the entry of the process at *index*."""
        if not 0 <= index < self._most:
            raise ValueError(f"A runworker has at most {self._most} processes, not {index + 1}.")
        # Only the supervisor adds entries.
        self._numbers[0] = max(self._numbers[0], index + 1)
        start = (index + 1) * _WIDTH
        return Place(self._numbers[start : start + _WIDTH])

    def places(self) -> Iterator[Place]:
        """Yield the entries that are or were in use."""
        for index in range(self._numbers[0]):
            yield self.place(index)


class Place:
    """The entry of one worker process.

    The worker fills the numbers first and says last that it is here. The coordinator withdraws the
    old moment, writes for whom the next one is, and writes it last. A reader that meets a change
    half-way takes the entry for empty, or sees an id that no worker has: no statement finds its
    row.
    """

    def __init__(self, numbers: memoryview) -> None:
        self._numbers = numbers

    # --- the worker's side ----------------------------------------------------------------------

    def enter(self, worker_id: UUID) -> None:
        """Say that the worker is registered under that id, and wants its lease renewed."""
        self._numbers[_Field.IS_HERE] = 0
        self._put_id(_Field.ID_HIGH, worker_id)
        self._numbers[_Field.IS_HERE] = 1

    def report(self, sign: Sign) -> None:
        """Show what the worker does. Its interpreter runs at ``sign.seen_at``."""
        numbers = self._numbers
        numbers[_Field.BUSY], numbers[_Field.DONE] = sign.busy, sign.jobs_done
        numbers[_Field.MEMORY] = -1 if sign.memory_bytes is None else sign.memory_bytes
        numbers[_Field.STOPPING] = sign.stopping
        numbers[_Field.SEEN_AT] = _nanoseconds(sign.seen_at)

    def leave(self) -> None:
        """Say that no worker is here any more; its supervisor calls this, too."""
        self._numbers[_Field.IS_HERE] = 0

    def lease_of(self, worker_id: UUID) -> float | None:
        """Return the end of that worker's lease, by :func:`.buffer.boot_time`.

        It is minus infinity when the worker was taken for dead, None before the first renewal.
        """
        until = self._numbers[_Field.UNTIL]
        if not until or self._id(_Field.FOR_HIGH) != worker_id:
            return None
        if self._numbers[_Field.UNTIL] != until:
            return None
        return -math.inf if until == _LOST else until / 1e9

    # --- the coordinator's side -----------------------------------------------------------------

    def sign(self) -> Sign | None:
        """Return what the worker reported last, or None when no worker is here."""
        numbers = self._numbers
        if not numbers[_Field.IS_HERE]:
            return None
        memory = numbers[_Field.MEMORY]
        return Sign(
            self._id(_Field.ID_HIGH),
            numbers[_Field.BUSY],
            numbers[_Field.DONE],
            None if memory < 0 else memory,
            bool(numbers[_Field.STOPPING]),
            numbers[_Field.SEEN_AT] / 1e9,
        )

    def allow(self, worker_id: UUID, until: float) -> None:
        """Tell that worker that its lease lasts *until*; minus infinity: it was taken for dead."""
        self._numbers[_Field.UNTIL] = 0
        self._put_id(_Field.FOR_HIGH, worker_id)
        self._numbers[_Field.UNTIL] = _LOST if until == -math.inf else _nanoseconds(until)

    def _put_id(self, field: _Field, worker_id: UUID) -> None:
        self._numbers[field] = (worker_id.int >> _HALF) - (1 << _HALF - 1)
        self._numbers[field + 1] = (worker_id.int & _MASK) - (1 << _HALF - 1)

    def _id(self, field: _Field) -> UUID:
        high, low = (self._numbers[each] + (1 << _HALF - 1) for each in (field, field + 1))
        return UUID(int=high << _HALF | low)


def _nanoseconds(moment: float) -> int:
    return int(moment * 1e9)
