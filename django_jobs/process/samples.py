"""The past hour of processes: memory and busy slots, one sample a minute.

The samples are in the memory of the process that renews the leases. Their text goes into the rows
once a minute, with the UPDATE of the heartbeat. So a row does not grow, and a new coordinator
begins anew.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from .renewal import Sign

#: The minutes that a row has.
MINUTES = 60
_MINUTE = 60.0
_MIB = 1024 * 1024


class Samples:
    """Collects the signs of life of some processes."""

    def __init__(self) -> None:
        self._of: dict[UUID, _Process] = {}

    def note(self, signs: Iterable[Sign], now: float) -> None:
        """Add the *signs* of all processes; the others are forgotten. *now* is in seconds."""
        seen = {sign.worker_id: sign for sign in signs}
        self._of = {pk: self._of.get(pk) or _Process() for pk in seen}
        for pk, sign in seen.items():
            self._of[pk].note(sign, int(now // _MINUTE))

    def added_to(self, signs: Iterable[Sign]) -> list[Sign]:
        """Return the *signs* with their news."""
        return [dataclasses.replace(sign, samples=self.news(sign.worker_id)) for sign in signs]

    def news(self, worker_id: UUID) -> str:
        """Return the samples as JSON if a minute has ended since the last call, else ``""``.

        A sample is ``[MiB, busy slots]``: the most memory, and the mean of the busy slots. A minute
        in which nobody looked is null.
        """
        process = self._of.get(worker_id)
        return process.news() if process is not None else ""


class _Process:
    def __init__(self) -> None:
        self._minutes: deque[list[float] | None] = deque(maxlen=MINUTES)
        self._minute = -1
        self._has_news = False
        self._looks = self._busy = self._memory = 0

    def note(self, sign: Sign, minute: int) -> None:
        if minute != self._minute:
            self._end(minute)
        self._looks += 1
        self._busy += sign.busy
        self._memory = max(self._memory, sign.memory_bytes or 0)

    def news(self) -> str:
        if not self._has_news:
            return ""
        self._has_news = False
        return json.dumps(list(self._minutes), separators=(",", ":"))

    def _end(self, minute: int) -> None:
        if self._looks:
            mean = round(self._busy / self._looks, 1)
            self._minutes.append([round(self._memory / _MIB), mean])
            self._minutes.extend([None] * min(MINUTES, minute - self._minute - 1))
            self._has_news = True
        self._minute = minute
        self._looks = self._busy = self._memory = 0
