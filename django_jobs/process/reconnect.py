"""What a long-running loop does after a database error: drop the connection, wait, try again."""

from __future__ import annotations

import random
from typing import Any

from django.db import Error, connections

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
    """Return how long to wait after another error in a row."""
    longest = min(_LONGEST_BACKOFF, pause * 3 or 2 * _SHORTEST_BACKOFF)
    return random.uniform(*_JITTER) * longest
