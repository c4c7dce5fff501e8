"""The stack of one running job of a pool."""

from __future__ import annotations

from types import FrameType
from uuid import UUID

from .base import Pool, is_of


def stack_of(pool: Pool, job_id: UUID, claims: int) -> list[FrameType] | None:
    """Return the frames of a running job, the outermost first; None when it is not here.

    A thread of the chores calls this, so the job goes on meanwhile.
    """
    own = [slot for slot, one in list(pool.contexts.items()) if is_of(one, job_id, claims)]
    slots = own or pool.batches.slots_of(job_id, claims)
    return pool.frames(slots[0], (job_id, claims)) if slots else None
