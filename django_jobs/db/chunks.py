"""Long lists in pieces that fit into a statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

#: At most this many parameters of one kind are in a statement.
CHUNK = 1_000
#: Most characters of the jobs' texts in a statement: half of the 16 MiB that MariaDB takes at most,
#: when each takes four bytes.
TEXT = 2 * 1024 * 1024

T = TypeVar("T")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return *values* in pieces that fit into a statement."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def pieces_of(items: Sequence[T], lengths: Iterable[int], most: int) -> Iterator[Sequence[T]]:
    """Return *items* in pieces of at most *most* and, unless it is one alone, so much text."""
    if not items:
        return
    lengths = list(lengths)
    if sum(lengths) <= TEXT and len(items) <= most:
        yield items
        return
    start = total = 0
    for position, length in enumerate(lengths):
        total += length
        if position > start and (total > TEXT or position - start == most):
            yield items[start:position]
            start, total = position, length
    yield items[start:]


def marks(values: Sequence[Any]) -> str:
    """Return a mark for each value, for ``IN (...)``."""
    return ", ".join(["%s"] * len(values))
