"""What the coordinator does for the tables of jobs, besides heartbeats; it may wait for locks."""

from __future__ import annotations

from ..ids import uuid7
from ..maintenance import events, promote, rollup, unblock
from ..maintenance.prune import Pruner
from ..process import alerting, native
from ..process.timers import Timer, Timers
from .leases import Leases, rescue_seconds

# Jobs that were scheduled within this time are promoted together.
_TOGETHER_SECONDS = 0.02


class Duties:
    """One thread runs them, over a connection of its own."""

    def __init__(self, using: str, leases: Leases) -> None:
        self._using = using
        self._holder = uuid7()
        #: Whether the database notifies this host of jobs that are scheduled.
        self.listens = False
        alerting_timers = [Timer("alerts", alerting.LOOK_SECONDS, self._tell_alerts, after=20.0)]
        self.timers = Timers(
            [
                *(alerting_timers if alerting.is_on() else ()),
                Timer("promote", 10.0, self._promote),
                Timer("events", 10.0, self._end_waits),
                Timer("rescue", rescue_seconds(), leases.rescue),
                Timer("wake", 10.0, lambda: unblock.run_once(using), after=2.0),
                Timer("prune", 60.0, Pruner(using, self._holder).run_once, after=30.0),
                Timer("rollup", 60.0, self._roll_up, after=45.0),
            ],
            using,
            new_event=native.event,
        )

    def look_for_due_jobs(self) -> None:
        """Jobs were scheduled, are due, or wait with a timeout; safe from any thread."""
        # One look serves many that come together.
        for name in ("promote", "events"):
            self.timers.ask(name, within=_TOGETHER_SECONDS)

    def _promote(self) -> float:
        return promote.run_once(self._using, longest_pause=self._longest_pause)

    def _end_waits(self) -> float:
        return events.run_once(self._using, longest_pause=self._longest_pause)

    @property
    def _longest_pause(self) -> float:
        """Seconds after which times that no notification told of are noticed."""
        return 10.0 if self.listens else 1.0

    def _roll_up(self) -> float | None:
        return 0.1 if rollup.run_once(self._using, self._holder) else None

    def _tell_alerts(self) -> None:
        alerting.run_once(self._using, self._holder)
