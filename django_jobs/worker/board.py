"""What a worker process runs, in memory that its supervisor can read after the process died."""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple
from uuid import UUID

_NO_JOB = b"\0" * 16
# State, attempt, job id, monotonic times at which it began and must have ended (0: no limit).
_ENTRY = struct.Struct("=ii16sdd")
# A flag and the id and attempt of a job whose process must be killed.
_KILL = struct.Struct("=ii16s")
_RUNNING = 1


class Entry(NamedTuple):
    """A running job; ``deadline`` is of :func:`time.monotonic`, 0 without a hard limit."""

    job_id: UUID
    attempt: int
    began: float
    deadline: float


class Board:
    """Shared memory with one entry for each slot of a worker process. Made before the fork."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._memory = mmap.mmap(-1, _KILL.size + slots * _ENTRY.size)

    def begin(self, slot: int, job_id: UUID, attempt: int, began: float, deadline: float) -> None:
        where = _KILL.size + slot * _ENTRY.size
        _ENTRY.pack_into(self._memory, where, _RUNNING, attempt, job_id.bytes, began, deadline)

    def end(self, slot: int) -> None:
        _ENTRY.pack_into(self._memory, _KILL.size + slot * _ENTRY.size, 0, 0, _NO_JOB, 0.0, 0.0)

    def running(self) -> list[Entry]:
        """Return the jobs that run now, or ran when the process died."""
        found = []
        for slot in range(self.slots):
            state, attempt, job_id, began, deadline = _ENTRY.unpack_from(
                self._memory, _KILL.size + slot * _ENTRY.size
            )
            if state == _RUNNING:
                found.append(Entry(UUID(bytes=job_id), attempt, began, deadline))
        return found

    def ask_kill(self, job_id: UUID, attempt: int) -> None:
        """Ask the supervisor to kill the process if it still runs that attempt."""
        _KILL.pack_into(self._memory, 0, 1, attempt, job_id.bytes)

    def asked_kill(self) -> tuple[UUID, int] | None:
        """Return whom :meth:`ask_kill` named, once."""
        flag, attempt, job_id = _KILL.unpack_from(self._memory, 0)
        if not flag:
            return None
        _KILL.pack_into(self._memory, 0, 0, 0, _NO_JOB)
        return UUID(bytes=job_id), attempt

    def close(self) -> None:
        self._memory.close()
