"""How far ahead a worker claims and how long outcomes gather, from what claims and records take."""

from __future__ import annotations

from .buffer import MAX_BATCH

#: An end shows in the database within this time while the database answers quickly.
VISIBLE_SECONDS = 0.05
_SHORTEST_GATHER, _LONGEST_GATHER = 0.01, 0.04
# Jobs that run in this time are claimed ahead even if they empty the queue: a job that waits so
# long in one process is no worse off than in another.
_NEAR_SECONDS = 0.008
# While the queue has more jobs, as many are claimed ahead as run in this time, so that few claims
# and records do for many jobs. The time is longer where a claim and a record take long.
_BACKLOG_SECONDS, _LONGEST_SECONDS = 0.05, 0.5
# The buffer is filled again while its jobs last for a record, which may have to end first, and the
# claim, twice, as both may take longer than usual.
_CYCLES_LEFT = 2
# A sleep may last so much longer: the system counts in milliseconds.
_SLEEP_SECONDS = 0.001
# So many jobs for each slot that claims in a row have found are no backlog yet.
_NO_BACKLOG = 3
# The weight of the newest duration in the smoothed one.
_NEWEST = 0.2


class Pace:
    """The smoothed durations of one worker's claims and records, and what follows from them.

    A loaded machine and a far database make the batches bigger: shorter ones would add to the load
    or leave the worker without jobs during a round trip.
    """

    def __init__(self) -> None:
        self.claim_seconds = 0.0
        self.record_seconds = 0.0
        # The jobs of the claims in a row that found as many as they wanted.
        self._found = 0

    def claimed(self, seconds: float, number: int, *, more: bool) -> None:
        """Note a claim of *number* jobs; *more* says that it left jobs of which nobody is told."""
        if number:
            self.claim_seconds += _NEWEST * (seconds - self.claim_seconds)
        self._found = self._found + number if more else 0

    def recorded(self, seconds: float) -> None:
        """Note a record."""
        self.record_seconds += _NEWEST * (seconds - self.record_seconds)

    @property
    def cycle_seconds(self) -> float:
        """The time that a claim and a record take together."""
        return self.claim_seconds + self.record_seconds

    @property
    def lead_seconds(self) -> float:
        """How long before the end of a job to claim the next one; a record may be under way."""
        return self.cycle_seconds + _SLEEP_SECONDS

    @property
    def gather_seconds(self) -> float:
        """How long an outcome may wait for others: what the promise leaves after a claim and it."""
        left = VISIBLE_SECONDS - self.cycle_seconds
        return max(_SHORTEST_GATHER, min(_LONGEST_GATHER, left))

    @property
    def ahead_seconds(self) -> float:
        """The time in which the jobs run that are claimed ahead of a backlog."""
        cycles = 2 * _CYCLES_LEFT * self.cycle_seconds
        return max(_BACKLOG_SECONDS, min(_LONGEST_SECONDS, cycles))

    def ahead(self, slots: int, run_seconds: float, *, probes: bool = False) -> int:
        """Return how many jobs to claim ahead for so many slots, besides those that run.

        A job that is claimed ahead may wait here while another worker is idle. So their number
        grows only while claims find as many jobs as they want. A worker that *probes* wants one
        more than its slots take: if it finds fewer, the queue is empty, and it need not look again.
        """
        most = _fit(self.ahead_seconds, slots, run_seconds)
        near = _fit(max(_NEAR_SECONDS, self.claim_seconds), slots, run_seconds)
        return min(
            most, MAX_BATCH, max(near, self._found - _NO_BACKLOG * slots, 1 if probes else 0)
        )

    def low_water(self, slots: int, run_seconds: float, ahead: int) -> int:
        """Return the number of waiting jobs at which to claim again, of *ahead* at most."""
        return min(ahead // 2, _fit(_CYCLES_LEFT * self.cycle_seconds, slots, run_seconds))


def _fit(seconds: float, slots: int, run_seconds: float) -> int:
    """Return how many jobs so many slots run in *seconds*."""
    return int(slots * seconds / max(run_seconds, 1e-6))
