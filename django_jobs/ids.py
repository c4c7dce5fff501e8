"""Ids of jobs: UUIDs in the order of time, which the caller generates."""

import hashlib
import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID, SafeUUID


class JobId(str):
    """The id of a job or a group, for users: a ``str`` that also equals its :class:`UUID`.

    JSON, sessions and texts take it as it is. Its hash is that of the text: to look it up in a dict
    with UUIDs as keys, use :attr:`uuid`.
    """

    __slots__ = ()

    @property
    def uuid(self) -> UUID:
        return UUID(self)

    @property
    def hex(self) -> str:
        return self.uuid.hex

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, str(other)) if isinstance(other, UUID) else str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def job_id(uuid: UUID | None) -> JobId | None:
    """Return *uuid* as a :class:`JobId`, or None for None."""
    return None if uuid is None else JobId(uuid)


def uuids(ids: Iterable[UUID | str]) -> list[UUID]:
    """Return *ids* as UUIDs; raise ``ValueError`` for a text that is not a UUID."""
    return [each if isinstance(each, UUID) else UUID(each) for each in ids]


_tail = struct.Struct(">Q").unpack
_lock = threading.Lock()
_last = 0
# Ids that are made faster than the clock moves run ahead of it, far less than this second. A clock
# that was set back by more counts anew: ids must not keep a moment of the future.
_MOST_AHEAD = 1_000 << 12
# Ids that are made at once: 250 µs of stamps, less than it takes to make them.
_BLOCK = 1_000


def uuid7() -> UUID:
    """Return a UUID version 7 (RFC 9562, section 5.7), so that keys are in the order of time.

    The 12 bits after the milliseconds hold the fraction of the millisecond (RFC 9562, section 6.2,
    method 3): the ids of one process sort in the order of the calls, unless its clock is set back
    by a second or more.
    """
    return _uuid(_stamp(1), _tail(os.urandom(8))[0])


def uuids7(number: int) -> Iterator[UUID]:
    """Yield *number* ids as those of :func:`uuid7`, in their order."""
    for start in range(0, number, _BLOCK):
        several = min(_BLOCK, number - start)
        stamp, tails = _stamp(several), struct.unpack(f">{several}Q", os.urandom(8 * several))
        for at, tail in enumerate(tails, stamp):
            yield _uuid(at, tail)


def _stamp(number: int) -> int:
    """Reserve *number* stamps in a row, of 48 bits of milliseconds and 12 of the fraction."""
    global _last
    now = time.time_ns()
    stamp = (now // 1_000_000 << 12) | (now % 1_000_000 << 12) // 1_000_000
    with _lock:
        if stamp <= _last < stamp + _MOST_AHEAD:
            stamp = _last + 1
        _last = stamp + number - 1
    return stamp


# UUID() checks its arguments, which takes longer than all else.
_new, _safe = UUID.__new__, SafeUUID.unknown
_slots: Any = UUID
_set_int, _set_safe = _slots.int.__set__, _slots.is_safe.__set__


def _uuid(stamp: int, tail: int) -> UUID:
    tail &= 0x3FFF_FFFF_FFFF_FFFF
    made = _new(UUID)
    _set_int(made, (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | tail)
    _set_safe(made, _safe)
    return made


def derived(id: UUID, text: str) -> UUID:
    """Return an id for *id* and *text*, always the same one; it has the time of *id*."""
    tail = int.from_bytes(hashlib.sha256(id.bytes + text.encode()).digest()[:8], "big")
    return UUID(int=id.int >> 64 << 64 | 0b10 << 62 | tail & 0x3FFF_FFFF_FFFF_FFFF)
