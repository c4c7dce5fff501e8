"""The leases of all workers of a host: it renews those of its own, and judges those of others."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from uuid import UUID

from ..conf import get_settings
from ..db import unix_time
from ..maintenance import rescue
from ..process.renewal import Sign, renew
from ..process.samples import Samples
from .buffer import boot_time
from .roster import Roster

_log = logging.getLogger("django_jobs.worker")

# The roster is looked at so often: for workers that are new, that stop, or whose row was locked.
LOOK_SECONDS = 1.0
# An interpreter that is busy may show no sign of life for so long.
_SILENT_SECONDS = 3.0


def rescue_seconds() -> float:
    """Return the seconds between two looks for dead workers.

    All other workers have the same time to renew their leases.
    """
    return get_settings().lease_seconds / 4


class Leases:
    """Renews the leases of the workers in *roster*; rescues the jobs of dead workers everywhere.

    *clock* returns seconds, as :func:`time.monotonic` does. One thread calls :meth:`renew`, another
    one :meth:`rescue`: that one waits for locks.
    """

    def __init__(
        self,
        roster: Roster,
        using: str,
        *,
        renew_soon: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: Whether a worker of this host runs a job, as the last look saw it.
        self.is_busy = False
        #: The next look renews all leases; any thread may set it.
        self.all_are_due = False
        self._roster = roster
        self._using = using
        self._renew_soon = renew_soon
        self._clock = clock
        self._samples = Samples()
        self._round_at = 0.0
        # Workers whose leases the last round could not renew; those whose stop is in their rows.
        self._missed: set[UUID] = set()
        self._stopping: set[UUID] = set()
        self._renewed_at, self._judges_from = -math.inf, math.inf
        # By how much the database's clock is ahead of this host's; None before the first look.
        self._ahead: float | None = None

    def renew(self) -> float:
        """Renew the leases that are due; return the seconds to the next look.

        Between two rounds those are due that the last round missed, and those that stop.
        """
        now = self._clock()
        is_round = self.all_are_due or now >= self._round_at
        if is_round:
            self.all_are_due, self._round_at = False, 0.0  # until this round is over
        here = {
            sign.worker_id: (place, sign)
            for place in self._roster.places()
            if (sign := place.sign())
        }
        self.is_busy = any(sign.busy for _place, sign in here.values())
        self._samples.note([sign for _place, sign in here.values()], now)
        due = {
            sign
            for _place, sign in here.values()
            if is_round or sign.worker_id in self._missed or self._has_news(sign)
        }
        # The lease of a process that shows no sign of life ends, so that others get its jobs.
        signs = sorted((sign for sign in due if not _is_silent(sign)), key=_by_id)
        if is_round:
            signs = self._samples.added_to(signs)
        renewed: set[UUID] = set()
        over: set[UUID] = set()
        asked_at = boot_time()
        if signs:
            renewed, over = renew(signs, self._using)
        elif is_round:
            unix_time(self._using)  # the rescue must know that the database answers
        until = asked_at + get_settings().lease_seconds
        for worker_id in renewed | over:
            # The database counts from a later moment, so it ends the lease later.
            here[worker_id][0].allow(worker_id, until if worker_id in renewed else -math.inf)
        self._missed = {sign.worker_id for sign in due} - renewed - over
        self._stopping &= here.keys()
        self._stopping |= {sign.worker_id for sign in signs if sign.stopping} & renewed
        if signs or is_round:
            self._database_answered()
        if is_round:
            self._round_at = now + get_settings().heartbeat_seconds
        return LOOK_SECONDS

    def rescue(self) -> float | None:
        """Rescue jobs of dead workers; return the seconds to the next look, None: the usual."""
        now = self._clock()
        if self._clock_jumped(now):
            self._judges_from = now + rescue_seconds()
            self._renew_soon()
        if self._is_late(now) or now < self._judges_from:
            # The database was away, or its clock jumped, and every lease ended: first all live
            # workers renew theirs.
            return min(rescue_seconds(), max(1.0, self._judges_from - now))
        rescued = rescue.run_once(self._using)
        if rescued:
            _log.warning("rescued jobs=%d from dead workers", rescued)
        return 0.1 if rescued >= rescue.BATCH else None

    def _has_news(self, sign: Sign) -> bool:
        return sign.stopping and sign.worker_id not in self._stopping

    def _database_answered(self) -> None:
        now = self._clock()
        if self._is_late(now):
            self._judges_from = now + rescue_seconds()
        self._renewed_at = now

    def _is_late(self, now: float) -> bool:
        return now - self._renewed_at > get_settings().lease_seconds / 2

    def _clock_jumped(self, now: float) -> bool:
        """Return whether the database's clock went ahead of this host's since the last look.

        A smaller step than this ends no lease that is renewed in time.
        """
        before, self._ahead = self._ahead, unix_time(self._using) - now
        return before is not None and self._ahead - before > rescue_seconds()


def _is_silent(sign: Sign) -> bool:
    longest = max(_SILENT_SECONDS, get_settings().lease_seconds / 2)
    return time.monotonic() - sign.seen_at > longest


def _by_id(sign: Sign) -> UUID:
    return sign.worker_id
