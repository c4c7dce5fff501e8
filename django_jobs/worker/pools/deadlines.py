"""When the supervisor kills a process whose job runs too long."""

from __future__ import annotations

# So many seconds after a hard limit the supervisor kills the process, in these pools. In a gevent
# pool the body has swallowed the limit by then, or it never waits.
_GRACE_SECONDS = {"prefork": 0.0, "gevent": 1.0}


def deadline(pool: str, began: float, limit: float) -> float:
    """Return the moment at which the supervisor kills the process; 0 for never."""
    return began + limit + _GRACE_SECONDS[pool] if pool in _GRACE_SECONDS else 0.0
