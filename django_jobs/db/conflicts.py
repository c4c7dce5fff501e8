"""Repeats what the database has undone because two transactions met."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connections

from .errors import Kind, kind_of

_DEADLOCK_TRIES = 8
#: Seconds. From the third try on there is a pause before each, chosen up to this for each earlier
#: one: in a Galera cluster who comes first is not known before COMMIT, so several may meet again.
_DEADLOCK_PAUSE = 0.02

T = TypeVar("T")


def without_deadlock(using: str, action: Callable[[], T]) -> T:
    """Do *action*; repeat it after a deadlock or a serialization failure.

    Inside a transaction it is not repeated, as the conflict has ended the transaction.
    """
    for left in reversed(range(_DEADLOCK_TRIES)):
        try:
            return action()
        except OperationalError as error:
            conflict = kind_of(error) is Kind.CONFLICT
            if not conflict or not left or connections[using].in_atomic_block:
                raise
            done = _DEADLOCK_TRIES - left
            if done > 1:
                time.sleep(random.uniform(0, _DEADLOCK_PAUSE * done))
    raise AssertionError("the last try returns or raises")
