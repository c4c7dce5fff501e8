"""Claims jobs: when, and how many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..process.wakeup import Wakeup
from ..run.claim import claim, expect_older
from ..values import Claimed
from .buffer import MAX_BATCH, JobBuffer
from .claim_timer import ClaimTimer
from .connection_backoff import ConnectionBackoff
from .loop_state import LoopState
from .quarantine import Quarantine
from .ready_queues import ReadyQueues


class Producer:
    """Claims as many jobs as fit, for the free slots and a little ahead.

    *hand_over* takes the jobs of a claim. *rests_until* returns the moment of *clock* before which
    the worker claims nothing, because the database refused a claim. *fills_batches* returns how
    many jobs to claim where so many fit.
    """

    def __init__(
        self,
        state: LoopState,
        buffer: JobBuffer,
        wakeup: Wakeup,
        *,
        timer: ClaimTimer,
        queues: ReadyQueues,
        quarantine: Quarantine,
        connections: ConnectionBackoff,
        hand_over: Callable[[list[Claimed]], None],
        rests_until: Callable[[], float],
        fills_batches: Callable[[int], int] = lambda room: room,
        claim: Callable[..., tuple[list[Claimed], bool]] = claim,
        expect_older: Callable[[str], None] = expect_older,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._buffer = buffer
        self._wakeup = wakeup
        self._timer = timer
        self._queues = queues
        self._quarantine = quarantine
        self._connections = connections
        self._hand_over = hand_over
        self._rests_until = rests_until
        self._fills_batches = fills_batches
        self._claim = claim
        self._expect_older = expect_older
        self._clock = clock

    def wanted(self) -> int:
        """Return how many jobs to claim now; start the job in quarantine when its time has come."""
        if self.takes_none():
            self._quarantine.begin()
            return 0
        if self._clock() < self.next_look():
            return 0
        if self._quarantine.is_wary or self._connections.tries_one:
            return min(self.room(), 1)
        return min(self._fills_batches(self.room()), MAX_BATCH)

    def takes_none(self) -> bool:
        """Return whether this worker claims no jobs as it is."""
        state = self._state
        return (
            state.stopping or state.options.quiet or self._quarantine.is_on() or self._buffer.spent
        )

    def next_look(self) -> float:
        """Return the moment of *clock* at which to claim next, if there is room."""
        return max(
            self._timer.next_look(self.is_full),
            self._rests_until(),
            self._connections.claim_from,
        )

    def next_claim(self) -> float:
        """Return the moment of *clock* from which jobs may be wanted, unless something happens."""
        if self.takes_none():
            return math.inf
        look_at = self.next_look()
        due_at = look_at if self.room() > 0 else math.inf
        waiting, _running, _ended = self._buffer.counts()
        frees_at = self._slot_frees_at()
        if self.is_full() and not waiting and frees_at > self._clock():
            # A worker that others call says then that it takes a job.
            due_at = min(due_at, frees_at if self._wakeup.hears_alone else max(frees_at, look_at))
        return due_at

    def room(self) -> int:
        """Return how many jobs fit: into free slots, and ahead for the time of a round trip."""
        waiting, running, ended = self._buffer.counts()
        slots, run_seconds = self._state.options.slots, self._buffer.run_seconds
        # A worker that alone was called for a job leaves the next one to the next call.
        probes = not (waiting or running or ended or self._wakeup.hears_alone)
        ahead = self._state.pace.ahead(slots, run_seconds, probes=probes)
        if running >= slots:
            now = self._clock()
            if now > self._overdue_at():
                ahead = 0
            elif now >= self._slot_frees_at():
                ahead = max(1, ahead)
        self._buffer.low_water = self._state.pace.low_water(slots, run_seconds, ahead)
        return slots + ahead - running - waiting if waiting <= self._buffer.low_water else 0

    def is_idle(self) -> bool:
        """Return whether this worker would claim a job if it heard of one.

        It has a free slot, or one is about to be free: by then the job is claimed.
        """
        waiting, running, _ended = self._buffer.counts()
        slots = self._state.options.slots
        takes = running + waiting < slots or (not waiting and self._ends_soon())
        return (
            takes
            and not self.takes_none()
            and max(self._rests_until(), self._connections.claim_from) <= self._clock()
        )

    def _slot_frees_at(self) -> float:
        """Return the moment at which to claim, so that the job is here when the last one ends."""
        buffer = self._buffer
        return buffer.last_begin + buffer.run_seconds - self._state.pace.lead_seconds

    def _ends_soon(self) -> bool:
        """Return whether a job of a full worker is about to end, if it runs as usual."""
        # A job that is shorter than the claim would end long before.
        longer = self._buffer.run_seconds > self._state.pace.lead_seconds
        return longer and self._slot_frees_at() <= self._clock() <= self._overdue_at()

    def _overdue_at(self) -> float:
        """Return the moment from which a full worker's last job runs for unusually long.

        Jobs that were claimed ahead would wait behind it.
        """
        buffer = self._buffer
        return buffer.last_begin + 2 * buffer.run_seconds + self._state.pace.cycle_seconds

    def is_full(self) -> bool:
        """Return whether no slot is free."""
        _waiting, running, _ended = self._buffer.counts()
        return running >= self._state.options.slots

    def claim(self, want: int) -> None:
        """Claim up to *want* jobs and hand them over; set the timer by what was found."""
        state = self._state
        jobs: list[Claimed] = []
        locked = False
        if self._timer.begin():
            self._queues.read_again()
        queues = self._queues.names()
        began = self._clock()
        if queues:
            jobs, locked = self._claim(state.worker_id, queues, want, state.using)
        took = self._clock() - began
        if jobs:
            self._wakeup.found_work()
            self._hand_over(jobs)
        nothing = not jobs and not locked
        if nothing:
            self._queues.read_again()
        all_told = self._wakeup.claimed(jobs, want, locked=locked)
        state.pace.claimed(took, len(jobs), more=not all_told and (locked or len(jobs) >= want))
        rests = nothing or (all_told and not state.options.burst)
        self._timer.looked(bool(jobs), locked, self._wakeup.next_look() if rests else 0.0)

    def permits_freed(self) -> None:
        """Claim at once: the next jobs in line are pending now, and older than others."""
        self._expect_older(self._state.using)
        self._timer.look()
