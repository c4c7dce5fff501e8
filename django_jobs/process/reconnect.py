"""After a database error a long-running loop drops its connection, waits and tries again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from django.db import Error, connections

from .. import log
from ..db import Kind, is_away, kind_of

# Seconds.
_SHORTEST_BACKOFF, _LONGEST_BACKOFF = 0.25, 5.0
# Processes that met the same error together do not come back together.
_JITTER = 0.5, 1.0


def drop_connection(using: str) -> None:
    """Forget this thread's connection after an error; the next query opens a new one."""
    connection: Any = connections[using]
    try:
        connection.close()
    except Error:
        connection.connection = None


def longer(pause: float) -> float:
    """Return how long to wait after another error in a row, in seconds."""
    longest = min(_LONGEST_BACKOFF, pause * 3 or 2 * _SHORTEST_BACKOFF)
    return random.uniform(*_JITTER) * longest


class Backoff:
    """The pauses of one loop after errors in a row, each longer than the one before.

    *name* says in the log what the loop does.
    """

    def __init__(self, name: str, using: str, longest: float = _LONGEST_BACKOFF) -> None:
        self.name = name
        self._using = using
        self._longest = longest
        self._pause = 0.0

    def failed(self, error: Exception) -> float:
        """Log the error and drop this thread's connection; return the seconds to wait."""
        self._pause = min(self._longest, longer(self._pause))
        log.failed(self.name, error, self._pause, away=is_away(error))
        drop_connection(self._using)
        return self._pause

    def succeeded(self) -> bool:
        """Log that the database is back, if the last try failed; return whether it did."""
        if not self._pause:
            return False
        self._pause = 0.0
        log.database_back(self.name)
        return True


def until_database_answers(
    action: Callable[[], object],
    backoff: Backoff,
    wait: Callable[[float], object],
    *,
    going_on: Callable[[], bool],
) -> bool:
    """Do *action* again and again until no database error ends it; return whether it was done.

    *wait* is called with the seconds to the next try, *going_on* before each try: False ends the
    loop.
    """
    while going_on():
        try:
            action()
        except Error as error:
            wait(backoff.failed(error))
        else:
            backoff.succeeded()
            return True
    return False


class Parts:
    """The parts of a loop's step. When the database refuses a part's statement, only it pauses.

    The pause grows with each refusal in a row. A conflict with another transaction is a refusal
    that is logged when it comes twice in a row. A database that is away concerns all parts, so that
    error is raised. *on_error* is called after a refusal. *clock* returns seconds, as
    :func:`time.monotonic` does.
    """

    def __init__(
        self, on_error: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_error = on_error
        self._clock = clock
        # By name: the part is not run before this moment; the pause that led to it.
        self._resting: dict[str, tuple[float, float]] = {}

    def run(self, name: str, action: Callable[..., object], *args: object) -> None:
        """Call *action* with *args*, unless that part rests."""
        if self._resting and self._clock() < self.rests_until(name):
            return
        try:
            action(*args)
        except Error as error:
            is_conflict = kind_of(error) is Kind.CONFLICT
            if is_away(error) and not is_conflict:
                raise
            before = self._resting.get(name, (0.0, 0.0))[1]
            pause = longer(before)
            if before or not is_conflict:
                log.failed(name, error, pause, away=False)
            self._on_error()
            self._resting[name] = self._clock() + pause, pause
        else:
            self._resting.pop(name, None)

    def rests_until(self, name: str) -> float:
        """Return the moment of *clock* before which that part is not run."""
        return self._resting.get(name, (0.0, 0.0))[0]
