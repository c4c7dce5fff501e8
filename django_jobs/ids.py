"""Identifiers of jobs: time-ordered, made by the client."""

import hashlib
import os
import threading
import time
from collections.abc import Iterable
from uuid import UUID


class JobId(str):
    """The id of a job or a group as users see it: a ``str`` that also equals its :class:`UUID`.

    It goes into JSON, sessions and texts as it is. Its hash is that of the text: a dict with UUIDs
    as keys finds it by :attr:`uuid` only.
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
    """Return *uuid* as users see it, or None for None."""
    return None if uuid is None else JobId(uuid)


def uuids(ids: Iterable[UUID | str]) -> list[UUID]:
    """Return *ids* as UUIDs; raise ``ValueError`` for a text that is none."""
    return [each if isinstance(each, UUID) else UUID(each) for each in ids]


_lock = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """Return a UUID version 7 (RFC 9562, section 5.7): rows keyed by it stay in time order.

    The 12 bits after the milliseconds hold the fraction of the millisecond (RFC 9562, section 6.2,
    method 3), so that ids made by one process sort in the order they were made.
    """
    global _last
    now = time.time_ns()
    # 48 bits of milliseconds and 12 bits of its fraction, as one number that only grows.
    stamp = (now // 1_000_000 << 12) | (now % 1_000_000 << 12) // 1_000_000
    with _lock:
        if stamp <= _last:
            stamp = _last + 1
        _last = stamp
    tail = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | tail)


def derived(id: UUID, text: str) -> UUID:
    """Return the same id each time for an *id* and a *text*; it has the time of *id*."""
    tail = int.from_bytes(hashlib.sha256(id.bytes + text.encode()).digest()[:8], "big")
    return UUID(int=id.int >> 64 << 64 | 0b10 << 62 | tail & 0x3FFF_FFFF_FFFF_FFFF)
