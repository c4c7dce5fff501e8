"""Remembers what a process has logged about a database that is away."""

from __future__ import annotations

import re

# While a database stays away, a process repeats the same line after this time.
_REMINDER_SECONDS = 60.0


class Outage:
    """Decides which errors of one outage a process logs: each cause once a minute.

    The threads of a process share it without a lock, because the process may fork while a thread
    holds one. At worst two threads log the same line.
    """

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}
        self._failing: set[str] = set()

    def is_news(self, error: str, now: float) -> bool:
        """Return whether to log *error* at *now*; numbers in it, as process ids, do not count."""
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
