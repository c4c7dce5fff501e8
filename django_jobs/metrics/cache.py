"""Values that one thread reads and all threads use for some seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..conf import get_settings
from ..db import unix_time as db_time

T = TypeVar("T")

# Seconds after which the clocks are compared again.
_CLOCK_SECONDS = 30.0

_lock = threading.RLock()
# By reader and database: when the value was read, by time.monotonic(), and the value.
_kept: dict[tuple[Callable[[str], Any], str], tuple[float, Any]] = {}


def recent(read: Callable[[str], T], using: str, seconds: float) -> T:
    """Return ``read(using)``, at most *seconds* old. The default *using* is the first database."""
    key = (read, using or get_settings().database)
    # The lock is held while one thread reads, so that the others wait for its value.
    with _lock:
        read_at, value = _kept.get(key, (0.0, None))
        if value is None or time.monotonic() - read_at > seconds:
            value = read(key[1])
            _kept[key] = (time.monotonic(), value)
        found: T = value
        return found


def unix_time(using: str) -> float:
    """Return the database's Unix time; the difference to this host's clock is kept for a while."""
    return time.monotonic() + recent(_offset, using, _CLOCK_SECONDS)


def _offset(using: str) -> float:
    return db_time(using) - time.monotonic()


def clear() -> None:
    """Make the next caller read anew, after a change that it must see."""
    with _lock:
        _kept.clear()
