"""Memory that a worker process shares with its supervisor: the jobs that the process runs.

The supervisor can read it after the process has died.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from ..define.batch_problems import MOST_CALLS
from .autoscale import Load, Report

_NO_JOB = b"\0" * 16
# A slot: state, claims and id of its job, the monotonic times of its start and of its hard limit
# (0: none), and the number of the other jobs of its batch.
_ENTRY = struct.Struct("=ii16sddi")
# A flag; the claims and the id of a job whose process the supervisor must kill.
_KILL = struct.Struct("=ii16s")
# Whether the supervisor asks for the load; the load, and the monotonic time of its last change.
_WATCHED = struct.Struct("=i")
_LOAD = struct.Struct("=id")
# The announced exit code plus 1; the monotonic times of the interpreter's last sign of life, and of
# the last step of the slowest loop.
_EXIT_CODE = struct.Struct("=i")
_PULSE = struct.Struct("=d")
_STEPPED = struct.Struct("=d")
_STATE = struct.Struct("=i")
_RUNNING, _ENDED = 1, 2
# The id and the claims of a job.
_JOB = struct.Struct("=16si")
# The most ended jobs that must not run twice and that are not recorded yet, besides those in the
# slots: a process claims so many ahead.
_MOST_UNRECORDED = 1000
_OTHERS_SIZE = MOST_CALLS * _JOB.size

_WATCHED_AT = _KILL.size
_LOAD_AT = _WATCHED_AT + _WATCHED.size
_EXIT_CODE_AT = _LOAD_AT + _LOAD.size
_PULSE_AT = _EXIT_CODE_AT + _EXIT_CODE.size
_STEPPED_AT = _PULSE_AT + _PULSE.size
_ENTRIES_AT = _STEPPED_AT + _STEPPED.size


class Entry(NamedTuple):
    """A job in a slot, with monotonic times; ``deadline`` is 0 without a hard limit.

    The jobs of a batch have the same slot.
    """

    job_id: UUID
    claims: int
    began: float
    deadline: float
    slot: int


class SharedSlots:
    """Has one entry for each slot of a worker process. The supervisor makes it before the fork."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._unrecorded_at = _ENTRIES_AT + slots * _ENTRY.size
        room = slots + _MOST_UNRECORDED
        self._others_at = self._unrecorded_at + room * _JOB.size
        # The system gives a page of it when somebody writes there.
        self._memory = mmap.mmap(-1, self._others_at + slots * _OTHERS_SIZE)
        self._unused = list(range(room))

    def begin(
        self,
        slot: int,
        job_id: UUID,
        claims: int,
        began: float,
        deadline: float,
        others: Sequence[tuple[UUID, int]] = (),
    ) -> None:
        """Note what runs in *slot*: a job, and the id and the claims of the others in its batch."""
        if others:
            for number, (other_id, other_claims) in enumerate(others):
                at = self._other(slot, number)
                _JOB.pack_into(self._memory, at, other_id.bytes, other_claims)
        _ENTRY.pack_into(
            self._memory, _ENTRIES_AT + slot * _ENTRY.size,
            _RUNNING, claims, job_id.bytes, began, deadline, len(others),
        )  # fmt: skip

    def _other(self, slot: int, number: int) -> int:
        return self._others_at + slot * _OTHERS_SIZE + number * _JOB.size

    def end(self, slot: int) -> None:
        _STATE.pack_into(self._memory, _ENTRIES_AT + slot * _ENTRY.size, _ENDED)

    def keep_end(self, job_id: UUID, claims: int) -> int:
        """Note the end of a job that must not run twice; return the key for :meth:`forget_end`."""
        position = self._unused.pop()
        where = self._unrecorded_at + position * _JOB.size
        _JOB.pack_into(self._memory, where, job_id.bytes, claims)
        return position

    def forget_end(self, position: int) -> None:
        """Remove the note: the job's outcome is recorded."""
        where = self._unrecorded_at + position * _JOB.size
        _JOB.pack_into(self._memory, where, _NO_JOB, 0)
        self._unused.append(position)

    def unrecorded(self) -> list[tuple[UUID, int]]:
        """Return the jobs whose ends were noted, and not recorded before the process died."""
        found = []
        for position in range(self.slots + _MOST_UNRECORDED):
            job_id, claims = _JOB.unpack_from(
                self._memory, self._unrecorded_at + position * _JOB.size
            )
            if job_id != _NO_JOB:
                found.append((UUID(bytes=job_id), claims))
        return found

    def running(self) -> list[Entry]:
        """Return the jobs that run now; after the process died, those that ran then."""
        return self._entries(_RUNNING)

    def latest(self) -> list[Entry]:
        """Return the last job of each slot in which no job runs."""
        return self._entries(_ENDED)

    def _entries(self, wanted: int) -> list[Entry]:
        found = []
        for slot in range(self.slots):
            state, claims, job_id, began, deadline, others = _ENTRY.unpack_from(
                self._memory, _ENTRIES_AT + slot * _ENTRY.size
            )
            if state == wanted:
                places = [self._other(slot, number) for number in range(others)]
                jobs = [(job_id, claims), *(_JOB.unpack_from(self._memory, at) for at in places)]
                found += [Entry(UUID(bytes=i), n, began, deadline, slot) for i, n in jobs]
        return found

    def ask_kill(self, job_id: UUID, claims: int) -> None:
        """Ask the supervisor to kill the process if it still runs that claim of the job."""
        _KILL.pack_into(self._memory, 0, 1, claims, job_id.bytes)

    def asked_kill(self) -> tuple[UUID, int] | None:
        """Return the job that :meth:`ask_kill` named, once; None when it named none."""
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
        """The load that the process wrote last."""
        load, since = _LOAD.unpack_from(self._memory, _LOAD_AT)
        return Report(Load(load), since)

    @load.setter
    def load(self, report: Report) -> None:
        _LOAD.pack_into(self._memory, _LOAD_AT, report.load, report.since)

    @property
    def exit_code(self) -> int | None:
        """The exit code that the process announced, or None. Any other end is a crash."""
        announced: int = _EXIT_CODE.unpack_from(self._memory, _EXIT_CODE_AT)[0]
        return announced - 1 if announced else None

    @exit_code.setter
    def exit_code(self, code: int) -> None:
        _EXIT_CODE.pack_into(self._memory, _EXIT_CODE_AT, code + 1)

    @property
    def pulse(self) -> float:
        """The monotonic time at which the interpreter last ran; 0 before its first sign of life."""
        moment: float = _PULSE.unpack_from(self._memory, _PULSE_AT)[0]
        return moment

    @pulse.setter
    def pulse(self, moment: float) -> None:
        _PULSE.pack_into(self._memory, _PULSE_AT, moment)

    @property
    def stepped(self) -> float:
        """The monotonic time of the last step of the process's slowest loop; 0 before that."""
        moment: float = _STEPPED.unpack_from(self._memory, _STEPPED_AT)[0]
        return moment

    @stepped.setter
    def stepped(self, moment: float) -> None:
        _STEPPED.pack_into(self._memory, _STEPPED_AT, moment)

    def close(self) -> None:
        self._memory.close()
