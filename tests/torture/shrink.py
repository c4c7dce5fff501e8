"""The shortest schedule of faults that still shows a failure: delta debugging, with a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def shortest(faults: list[T], fails: Callable[[list[T]], bool], tries: int) -> list[T]:
    """Leave parts of *faults* out as long as *fails* says that the rest still fails.

    A failure that depends on chance may not come again, so what is returned has failed once.
    """
    parts = 2
    while faults and tries > 0:
        size = -(-len(faults) // parts)
        for start in range(0, len(faults), size):
            rest = faults[:start] + faults[start + size :]
            tries -= 1
            if fails(rest):
                faults, parts = rest, max(parts - 1, 2)
                break
            if tries <= 0:
                return faults
        else:
            if size == 1:
                return faults
            parts = min(parts * 2, len(faults))
    return faults
