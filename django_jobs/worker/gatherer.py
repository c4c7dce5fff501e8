"""Gathers calls of batch functions until a batch is full or has waited long enough."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from ..define import registry
from ..run.expiry import mark_expired
from ..run.release import release
from ..values import Claimed
from .buffer import JobBuffer
from .loop_state import LoopState
from .quarantine import Quarantine
from .releaser import RELEASE_SECONDS
from .starter import Starter

# How long a call waits for others without ``batch_seconds``.
_BATCH_SECONDS = 1.0


class Gatherer:
    """Holds the calls that a worker has claimed, beside its slots: they keep none.

    It fills batches by larger claims, as long as claims find such calls.
    """

    def __init__(
        self,
        state: LoopState,
        buffer: JobBuffer,
        starter: Starter,
        quarantine: Quarantine,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._buffer = buffer
        self._calls = buffer.calls
        self._starter = starter
        self._quarantine = quarantine
        self._clock = clock
        # By the name of the function: when its calls have waited long enough.
        self._due: dict[str, float] = {}
        # Of the last claim that found jobs: the calls, the other jobs, and the sizes of batches.
        self._found, self._others = 0, 0
        self._sizes: dict[str, int] = {}
        # How many jobs fit that are no calls, at the last claim.
        self._room = 0

    def __bool__(self) -> bool:
        return bool(self._due)

    def wanted(self, room: int) -> int:
        """Return how many jobs to claim where *room* jobs fit, if a batch counts as one.

        As many calls more are claimed as the last claim lets expect, so that few other jobs come
        with them.
        """
        self._room = room
        if room <= 0 or not self._found:
            return room
        missing = room * max(self._sizes.values()) - sum(map(self._calls.number, self._sizes))
        if not self._others:
            return max(room, missing)
        return room + max(0, min(missing, room * self._found // self._others))

    def separate(self, jobs: Sequence[Claimed]) -> list[Claimed]:
        """Hold the calls of batch functions and start full batches; return the other jobs.

        Other jobs for which there is no room go back.
        """
        batched = registry.batched
        calls = [job for job in jobs if job.name in batched] if batched else []
        self._found, self._others = len(calls), len(jobs) - len(calls)
        if not calls:
            return list(jobs)
        others = [job for job in jobs if job.name not in batched]
        self._sizes = {}
        for job in calls:
            self._hold(job)
        if len(others) > self._room:
            release(self._state.worker_id, others[self._room :], self._state.using)
            del others[self._room :]
        return others

    def _hold(self, job: Claimed) -> None:
        options = registry.get(job.name).options
        size = self._sizes[job.name] = options.batch_size or 1
        seconds = options.batch_seconds
        wait = _BATCH_SECONDS if seconds is None else seconds
        self._due.setdefault(job.name, self._clock() + wait)
        if self._calls.add(job) >= size:
            self._start(job.name)

    def start_due(self) -> None:
        """Start the batches whose calls have waited long enough; give all back at a stop.

        While a job runs alone after a crash, or waits to, no batch starts.
        """
        if self._state.stopping or self._buffer.spent:
            self._due.clear()
            release(self._state.worker_id, self._calls.withdraw(), self._state.using)
            return
        now = self._clock()
        for name in [name for name, due in self._due.items() if due <= now]:
            if not self._quarantine.is_on():
                self._start(name)
            elif self._due[name] + RELEASE_SECONDS <= now:
                del self._due[name]
                release(self._state.worker_id, self._calls.take(name), self._state.using)

    def hurry(self) -> None:
        """Let no call wait any longer for others."""
        self._due = dict.fromkeys(self._due, self._clock())

    def due_at(self) -> float:
        """Return the moment of *clock* at which :meth:`start_due` has something to do."""
        late = RELEASE_SECONDS if self._quarantine.is_on() else 0.0
        return min(self._due.values(), default=math.inf) + late

    def _start(self, name: str) -> None:
        del self._due[name]
        if calls := self._calls.take(name):
            mark_expired(calls, self._state.using)
            self._starter.start_batch(calls)
