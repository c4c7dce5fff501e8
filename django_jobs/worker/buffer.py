"""The jobs of one worker process: claimed, running, ended but not yet recorded."""

from __future__ import annotations

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from uuid import UUID

from ..process import native
from ..values import Claimed, Outcome, Work, jobs_of
from .confirmations import Confirmations
from .held_calls import HeldCalls, take_out
from .sleepers import Sleepers

#: Most jobs that one statement claims or records.
MAX_BATCH = 1000
# The weight of the newest job in the smoothed run time, when there were many. The first ones weigh
# more.
_NEWEST, _MANY = 0.1, 9

# A clock that also runs while the host sleeps, where the platform has one.
boot_time: Callable[[], float] = (
    functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)


class JobBuffer:
    """Lies between the pool that runs the jobs and the loop that claims and records them.

    One lock guards all of it; each thread holds it for microseconds.
    """

    def __init__(
        self,
        wake_loop: Callable[[], None],
        budget: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*budget* is the number of jobs that this process may still begin; None: any number."""
        self._clock = clock
        self.low_water = 0
        #: The smoothed seconds of a job. A worker claims few jobs ahead until some were short.
        self.run_seconds = 0.5
        self.jobs_done = 0
        #: The moment at which the oldest waiting job became the next one: the job before it began,
        #: or the buffer was empty.
        self.last_move = clock()
        #: The moment at which the last job began. Jobs that were released since then, because it
        #: runs long, make it -inf.
        self.last_begin = self.last_move
        # The end of the worker's lease, of boot_time().
        self._lease_until = math.inf
        self._budget = budget
        self._wake_loop = wake_loop
        self._waiting: deque[Work] = deque()
        self._late: list[Claimed] = []
        #: The job that waits to run alone; :meth:`counts` leaves it out.
        self.aside: Claimed | None = None
        #: The calls that wait to become batches; :meth:`counts` leaves them out.
        self.calls = HeldCalls()
        self._running: dict[int, Work] = {}
        self._ended: list[Outcome] = []
        #: Whether every slot's next :meth:`take` returns None.
        self.closed = False
        self._lock = native.lock()  # the pulse's thread takes it while a greenlet computes
        self._sleepers = Sleepers(self._lock)
        self.confirmations = Confirmations(wake_loop)

    # --- the pool's side ------------------------------------------------------------------------

    def take(self, slot: int, *, wait: bool = True) -> Work | None:
        """Return what to run next in *slot*; None when the buffer is closed and empty.

        Without *wait*, None also when no job is ready now.
        """
        with self._lock:
            while (job := self._next()) is None:
                if self.closed or not wait:
                    return None
                self._sleepers.sleep()
            self._running[slot] = job
            if self._budget is not None:
                self._budget -= len(jobs_of(job))
            return job

    def _next(self) -> Work | None:
        # A process that slept past its lease starts no job: other workers may have its jobs.
        may_begin = self._budget is None or self._budget > 0
        while self._waiting and may_begin and boot_time() < self._lease_until:
            job = self._waiting.popleft()
            self.last_move = now = self._clock()
            if job.begin_by is None or now <= job.begin_by:
                self.last_begin = now
                return job
            # Its rate limit allowed a start until then. The loop releases it.
            self._late += jobs_of(job)
            self._wake_loop()
        return None

    def hand_in(self, *outcomes: Outcome) -> None:
        """Take the outcomes of a slot that stays taken; wake the loop."""
        with self._lock:
            self._ended += outcomes
        self._wake_loop()

    def end(self, slot: int, outcome: Outcome, *others: Outcome, handed_in: bool = False) -> None:
        """Free the slot and take its outcomes; wake the loop where it would sleep too long."""
        with self._lock:
            del self._running[slot]
            first = not handed_in and not self._ended
            if not handed_in:
                self._ended.append(outcome)
                self._ended += others
            self.jobs_done += 1 + len(others)
            took = (self._clock() if handed_in else outcome.ended) - outcome.began
            newest = _NEWEST if self.jobs_done >= _MANY else 1 / (self.jobs_done + 1)
            self.run_seconds += newest * (took - self.run_seconds)
            wake = first or len(self._waiting) <= self.low_water
        if wake:
            self._wake_loop()

    def hold(self, slot: int, job: Claimed) -> None:
        """Keep a free slot taken, for the hooks of a job that has ended in it."""
        with self._lock:
            self._running[slot] = job

    def free(self, slot: int, seconds: float) -> None:
        """Free a slot that hooks have held for so long; :meth:`end` counted the body's time."""
        with self._lock:
            del self._running[slot]
            self.run_seconds += _NEWEST * seconds
            wake = len(self._waiting) <= self.low_water
        if wake:
            self._wake_loop()

    def lease(self, until: float) -> None:
        """Let jobs start until the worker's lease ends, at that :func:`boot_time`."""
        with self._lock:
            self._lease_until = until
            self._sleepers.wake(len(self._waiting))

    def hand_out_no_more(self) -> None:
        """Let no further job start in this process."""
        with self._lock:
            self._budget = 0

    # --- the loop's side ------------------------------------------------------------------------

    @property
    def spent(self) -> bool:
        """Whether this process may start no more jobs."""
        return self._budget is not None and self._budget <= 0

    def put(self, jobs: Iterable[Work]) -> None:
        with self._lock:
            if not self._waiting:
                self.last_move = self._clock()
            before = len(self._waiting)
            self._waiting.extend(jobs)
            self._sleepers.wake(len(self._waiting) - before)

    def withdraw(self, keep: int = 0) -> list[Claimed]:
        """Remove and return what has not started, except the first *keep* jobs and batches."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting = deque(waiting[:keep])
            return jobs_of(*waiting[keep:])

    def take_aside(self) -> Claimed | None:
        """Remove and return the job that waits to run alone, if it is still there."""
        with self._lock:
            job, self.aside = self.aside, None
            return job

    def remove(self, job_id: UUID, claims: int) -> bool:
        """Remove a job that has not started; return whether it was here. Safe from any thread."""
        key = (job_id, claims)
        found = self.calls.remove(key)
        with self._lock:
            found += take_out(self._waiting, key)
            if self.aside is not None and (self.aside.id, self.aside.claims) == key:
                found.append(self.aside)
                self.aside = None
        if found:
            self._wake_loop()
        return bool(found)

    def withdraw_late(self) -> list[Claimed]:
        """Remove and return the jobs that came too late for their rate limits."""
        with self._lock:
            jobs, self._late = self._late, []
            return jobs

    def ended(self) -> list[Outcome]:
        """Return the outcomes to record; they stay here until :meth:`recorded`."""
        with self._lock:
            return list(self._ended)

    def recorded(self, number: int) -> None:
        """Remove the *number* oldest outcomes."""
        with self._lock:
            del self._ended[:number]

    def counts(self) -> tuple[int, int, int]:
        """Return how many jobs wait, run and have ended unrecorded."""
        with self._lock:
            waiting = len(self._waiting) + len(self._late)
            return waiting, len(self._running), len(self._ended)

    def held(self) -> set[tuple[UUID, int]]:
        """Return the id and the number of claims of each job in the buffer."""
        # In this order: a call leaves the held ones before it waits in a batch.
        calls = self.calls.keys()
        with self._lock:
            jobs = jobs_of(*self._waiting, *self._running.values(), *self._late)
            jobs += [outcome.job for outcome in self._ended]
            if self.aside is not None:
                jobs.append(self.aside)
            return calls | {(job.id, job.claims) for job in jobs}

    def close(self) -> None:
        """Let every slot's next :meth:`take` return None."""
        with self._lock:
            self.closed = True
            self._sleepers.wake(len(self._sleepers))
        self.confirmations.close()
