"""Remembers what a process has logged about a database that is away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

# While a database stays away, a process repeats the same line after this time.
_REMINDER_SECONDS = 60.0


class Outage:
    """Decides which errors of one outage a process logs: each cause once a minute.

    The threads of a process share it without a lock, because the process may fork while a thread
    holds one. At worst two threads log the same line. *clock* returns seconds, as
    :func:`time.monotonic` does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._failing: set[str] = set()

    def is_news(self, error: str) -> bool:
        """Return whether to log *error* now; numbers in it, as process ids, do not count."""
        now = self._clock()
        cause = re.sub(r"\d+", "0", error)
        if now < self._logged.get(cause, -_REMINDER_SECONDS) + _REMINDER_SECONDS:
            return False
        self._logged[cause] = now
        return True

    def begins(self, what: str) -> None:
        self._failing.add(what)

    def ends(self, what: str) -> bool:
        """Return whether everything that failed works again."""
        self._failing.discard(what)
        if self._failing:
            return False
        self._logged.clear()
        return True


outage = Outage()
