"""Notes the calls that are enqueued, for :mod:`django_jobs.testing`."""

from __future__ import annotations

from collections.abc import Iterable

from ..values import NewJob


class Capture:
    """The jobs that were enqueued while it was in :data:`captures`; *writes*: they have rows."""

    def __init__(self, *, writes: bool) -> None:
        self.writes = writes
        self.rows: list[NewJob] = []


#: The captures that are open, the innermost last. Enqueuing from any thread is noted.
captures: list[Capture] = []


def note(rows: Iterable[NewJob]) -> None:
    """Add *rows* to all open captures."""
    found = list(rows)
    for capture in captures:
        capture.rows += found


def is_writing() -> bool:
    """Tell whether all open captures let jobs be written."""
    return all(capture.writes for capture in captures)
