"""Claimed calls of batch functions that wait in a worker for others."""

from __future__ import annotations

from collections import deque
from uuid import UUID

from ..process import native
from ..values import Batch, Claimed, Work


class HeldCalls:
    """The calls that wait, by the name of their function. Safe from any thread."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Claimed]] = {}
        self._lock = native.lock()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, job: Claimed) -> int:
        """Add a call; return how many of its function wait now."""
        with self._lock:
            calls = self._calls.setdefault(job.name, [])
            calls.append(job)
            return len(calls)

    def number(self, name: str) -> int:
        """Return how many calls of the function *name* wait."""
        with self._lock:
            return len(self._calls.get(name, ()))

    def take(self, name: str) -> list[Claimed]:
        """Remove and return the calls of the function *name*."""
        with self._lock:
            return self._calls.pop(name, [])

    def withdraw(self) -> list[Claimed]:
        """Remove and return all calls."""
        with self._lock:
            calls, self._calls = self._calls, {}
        return [job for some in calls.values() for job in some]

    def remove(self, key: tuple[UUID, int]) -> list[Claimed]:
        """Remove and return the call with that id and number of claims, if it is here."""
        with self._lock:
            for name, calls in self._calls.items():
                if found := without(calls, key):
                    if not calls:
                        del self._calls[name]
                    return found
        return []

    def keys(self) -> set[tuple[UUID, int]]:
        """Return the id and the number of claims of each call."""
        with self._lock:
            return {(job.id, job.claims) for calls in self._calls.values() for job in calls}


def take_out(waiting: deque[Work], key: tuple[UUID, int]) -> list[Claimed]:
    """Remove the job with that id and number of claims, also from its batch; return it."""
    found = []
    for work in list(waiting):
        jobs = work.jobs if isinstance(work, Batch) else [work]
        found += without(jobs, key)
        if not jobs:
            waiting.remove(work)
    return found


def without(jobs: list[Claimed], key: tuple[UUID, int]) -> list[Claimed]:
    """Remove the job with that id and number of claims from *jobs*; return what was removed."""
    found = [job for job in jobs if (job.id, job.claims) == key]
    for job in found:
        jobs.remove(job)
    return found
