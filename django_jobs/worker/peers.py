"""Several ``runworker`` hear of the same jobs: which of them is to call a worker first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any
from uuid import UUID

from ..enqueue.notify import queue_of
from ..models import Worker

#: Seconds between two looks for others.
PEERS_SECONDS = 10.0

# What one worker serves: its supervisor, its queues, the queues that it excludes.
Served = tuple[UUID, list[str], list[str]]


class Peers:
    """Says which of several coordinators calls a worker first.

    Each coordinator finds the same order by a hash of the notification and of its own id. It does
    no harm if they know different lists: then two call a worker, or the others look after a pause.
    """

    def __init__(
        self,
        own: UUID,
        using: str,
        read: Callable[[str], Iterable[Served]] | None = None,
    ) -> None:
        self._own = own
        self._using = using
        self._read = read or served
        self._others: dict[UUID, list[tuple[list[str], list[str]]]] = {}

    def look(self) -> None:
        """Read which others have live workers."""
        others: dict[UUID, list[tuple[list[str], list[str]]]] = defaultdict(list)
        for supervisor_id, queues, excluded in self._read(self._using):
            if supervisor_id != self._own:
                others[supervisor_id].append((queues, excluded))
        self._others = others

    def rank(self, topic: str) -> int:
        """Return how many others are to call a worker before this one does."""
        if not self._others:
            return 0
        queue, own = queue_of(topic), _weight(topic, self._own)
        return sum(
            _weight(topic, other) < own
            for other, kinds in self._others.items()
            if any(
                queue not in excluded and (not queues or queue in queues)
                for queues, excluded in kinds
            )
        )


def served(using: str) -> Iterable[Served]:
    """Return what the live workers of all supervisors serve, each combination once."""
    rows: Any = Worker.objects.using(using).live().executing()
    rows = rows.filter(quiet=False).exclude(supervisor_id=None).order_by()
    found: Iterable[Served] = rows.values_list(
        "supervisor_id", "queues", "exclude_queues"
    ).distinct()
    return found


def _weight(topic: str, supervisor_id: UUID) -> bytes:
    return blake2b(topic.encode(), digest_size=8, key=supervisor_id.bytes).digest()
