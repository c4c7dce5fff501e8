"""What a worker process runs, in memory that its supervisor can read after the process died."""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple
from uuid import UUID

from .autoscale import Load, Report

_NO_JOB = b"\0" * 16
# State, claims, job id, monotonic times at which it began and must have ended (0: no limit).
_ENTRY = struct.Struct("=ii16sdd")
# A flag and the id and claims of a job whose process must be killed.
_KILL = struct.Struct("=ii16s")
# Whether the supervisor wants to know the load; the load and since when it is so.
_WATCHED = struct.Struct("=i")
_LOAD = struct.Struct("=id")
# The exit code that the process announced, plus 1; when its interpreter last showed that it runs.
_EXIT_CODE = struct.Struct("=i")
_PULSE = struct.Struct("=d")
_STATE = struct.Struct("=i")
_RUNNING, _ENDED = 1, 2
# The id and the claims of a job that must not run twice: its end is not recorded yet.
_UNRECORDED = struct.Struct("=16si")
# So many of them there are at most, besides those in the slots: what is claimed ahead.
_MOST_UNRECORDED = 1000

_WATCHED_AT = _KILL.size
_LOAD_AT = _WATCHED_AT + _WATCHED.size
_EXIT_CODE_AT = _LOAD_AT + _LOAD.size
_PULSE_AT = _EXIT_CODE_AT + _EXIT_CODE.size
_ENTRIES_AT = _PULSE_AT + _PULSE.size


class Entry(NamedTuple):
    """A running job; ``deadline`` is of :func:`time.monotonic`, 0 without a hard limit."""

    job_id: UUID
    claims: int
    began: float
    deadline: float


class SharedSlots:
    """Shared memory with one entry for each slot of a worker process. Made before the fork."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._unrecorded_at = _ENTRIES_AT + slots * _ENTRY.size
        room = slots + _MOST_UNRECORDED
        self._memory = mmap.mmap(-1, self._unrecorded_at + room * _UNRECORDED.size)
        self._unused = list(range(room))

    def begin(self, slot: int, job_id: UUID, claims: int, began: float, deadline: float) -> None:
        where = _ENTRIES_AT + slot * _ENTRY.size
        _ENTRY.pack_into(self._memory, where, _RUNNING, claims, job_id.bytes, began, deadline)

    def end(self, slot: int) -> None:
        _STATE.pack_into(self._memory, _ENTRIES_AT + slot * _ENTRY.size, _ENDED)

    def keep_end(self, job_id: UUID, claims: int) -> int:
        """Note the end of a job that must not run twice; return what :meth:`forget_end` takes."""
        place = self._unused.pop()
        where = self._unrecorded_at + place * _UNRECORDED.size
        _UNRECORDED.pack_into(self._memory, where, job_id.bytes, claims)
        return place

    def forget_end(self, place: int) -> None:
        """Remove the note: the job's outcome is recorded."""
        where = self._unrecorded_at + place * _UNRECORDED.size
        _UNRECORDED.pack_into(self._memory, where, _NO_JOB, 0)
        self._unused.append(place)

    def unrecorded(self) -> list[tuple[UUID, int]]:
        """Return the jobs whose ends were noted and not recorded when the process died."""
        found = []
        for place in range(self.slots + _MOST_UNRECORDED):
            job_id, claims = _UNRECORDED.unpack_from(
                self._memory, self._unrecorded_at + place * _UNRECORDED.size
            )
            if job_id != _NO_JOB:
                found.append((UUID(bytes=job_id), claims))
        return found

    def running(self) -> list[Entry]:
        """Return the jobs that run now, or ran when the process died."""
        return self._entries(_RUNNING)

    def latest(self) -> list[Entry]:
        """Return the jobs that ended last in the slots where none runs."""
        return self._entries(_ENDED)

    def _entries(self, wanted: int) -> list[Entry]:
        found = []
        for slot in range(self.slots):
            state, claims, job_id, began, deadline = _ENTRY.unpack_from(
                self._memory, _ENTRIES_AT + slot * _ENTRY.size
            )
            if state == wanted:
                found.append(Entry(UUID(bytes=job_id), claims, began, deadline))
        return found

    def ask_kill(self, job_id: UUID, claims: int) -> None:
        """Ask the supervisor to kill the process if it still runs that claims."""
        _KILL.pack_into(self._memory, 0, 1, claims, job_id.bytes)

    def asked_kill(self) -> tuple[UUID, int] | None:
        """Return whom :meth:`ask_kill` named, once."""
        flag, claims, job_id = _KILL.unpack_from(self._memory, 0)
        if not flag:
            return None
        _KILL.pack_into(self._memory, 0, 0, 0, _NO_JOB)
        return UUID(bytes=job_id), claims

    @property
    def watched(self) -> bool:
        """Whether the supervisor asks for :attr:`load`."""
        return bool(_WATCHED.unpack_from(self._memory, _WATCHED_AT)[0])

    @watched.setter
    def watched(self, value: bool) -> None:
        _WATCHED.pack_into(self._memory, _WATCHED_AT, value)

    @property
    def load(self) -> Report:
        """How busy the process is, as it told last."""
        load, since = _LOAD.unpack_from(self._memory, _LOAD_AT)
        return Report(Load(load), since)

    @load.setter
    def load(self, report: Report) -> None:
        _LOAD.pack_into(self._memory, _LOAD_AT, report.load, report.since)

    @property
    def exit_code(self) -> int | None:
        """The exit code that the process is about to end with, in order, once it said so."""
        announced: int = _EXIT_CODE.unpack_from(self._memory, _EXIT_CODE_AT)[0]
        return announced - 1 if announced else None

    @exit_code.setter
    def exit_code(self, code: int) -> None:
        _EXIT_CODE.pack_into(self._memory, _EXIT_CODE_AT, code + 1)

    @property
    def pulse(self) -> float:
        """When the process last showed that its interpreter runs; 0 before it ever did."""
        moment: float = _PULSE.unpack_from(self._memory, _PULSE_AT)[0]
        return moment

    @pulse.setter
    def pulse(self, moment: float) -> None:
        _PULSE.pack_into(self._memory, _PULSE_AT, moment)

    def close(self) -> None:
        self._memory.close()
