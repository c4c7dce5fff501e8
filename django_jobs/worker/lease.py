"""A worker's own row and lease, and its judgement of other workers' leases."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import Error

from .. import log
from ..conf import get_settings
from ..db import is_away, unix_time
from ..maintenance import rescue
from ..models import Worker
from ..process.presence import Presence
from .buffer import boot_time
from .worker_info import details

if TYPE_CHECKING:
    from .worker import WorkerProcess

_log = logging.getLogger("django_jobs.worker")


def rescue_seconds() -> float:
    """Return the seconds between two looks for dead workers.

    All other workers have the same time to renew their leases.
    """
    return get_settings().lease_seconds / 4


class Lease:
    """Registers a worker, renews its lease, rescues the jobs of workers whose leases ended.

    *clock* returns seconds, as :func:`time.monotonic` does.
    """

    def __init__(self, worker: WorkerProcess, clock: Callable[[], float] = time.monotonic) -> None:
        #: The worker has signed off, or will do so now: a late renewal starts no new lease.
        self.is_over = False
        self._worker = worker
        self._clock = clock
        self._presence = Presence(
            worker.worker_id,
            worker.name,
            worker.options.using,
            columns=self._columns,
            load=self._load,
            on_lost=self._lost,
            is_over=lambda: self.is_over,
        )
        self._renewed_at = self._judges_from = math.inf
        # By how much the database's clock is ahead of this host's; None before the first look.
        self._ahead: float | None = None

    def begin(self) -> None:
        """Write the worker's row."""
        asked_at = boot_time()
        self._presence.register()
        self._registered(asked_at)

    def renew(self) -> None:
        """Renew the lease. A worker whose lease had ended ends, or gets a new id."""
        asked_at = boot_time()
        if not self._presence.renew(stopping=self._worker.was_told_to_stop):
            self._registered(asked_at)
            return
        self._allow_jobs(asked_at)
        now = self._clock()
        if self._is_late(now):
            self._judges_from = now + rescue_seconds()
        self._renewed_at = now

    def end(self) -> None:
        """Mark the worker's row as stopped, unless the database is away."""
        self.is_over = True
        try:
            self._worker.collector.flush(self._worker.options.using)
        except Error as error:
            log.failed("signing off", error, 0.0, away=is_away(error))
        else:
            self._presence.sign_off()

    def rescue(self) -> float | None:
        """Rescue jobs of dead workers; return the seconds to the next look, None: the usual."""
        now = self._clock()
        if self._clock_jumped(now):
            self._judges_from = now + rescue_seconds()
            self._worker.renew_soon()
        if self._is_late(now) or now < self._judges_from:
            # The database was away, or its clock jumped, and every lease ended: first all live
            # workers renew theirs.
            return min(rescue_seconds(), max(1.0, self._judges_from - now))
        rescued = rescue.run_once(self._worker.options.using)
        if rescued:
            _log.warning("rescued jobs=%d from dead workers", rescued)
        return 0.1 if rescued >= rescue.BATCH else None

    def _registered(self, asked_at: float) -> None:
        self._worker.collector.synchronize(self._worker.options.using)
        self._renewed_at = self._clock()
        self._judges_from = self._renewed_at + rescue_seconds()
        self._allow_jobs(asked_at)

    def _allow_jobs(self, asked_at: float) -> None:
        # The database counts from a later moment, so it ends the lease later.
        self._worker.buffer.lease(asked_at + get_settings().lease_seconds)
        self._worker.pool.wake()

    def _lost(self, new_id: UUID) -> None:
        name = self._worker.name
        _log.error("worker lost name=%s: its lease ran out and its jobs were given to others", name)
        self._worker.lose_jobs(new_id)

    def _load(self) -> tuple[int, int]:
        _waiting, running, _ended = self._worker.buffer.counts()
        return running, self._worker.buffer.jobs_done

    def _columns(self) -> dict[str, Any]:
        options = self._worker.options
        return {
            "pool": Worker.EMBEDDED if options.embedded else options.pool,
            "slots": options.slots,
            "queues": list(options.queues),
            "exclude_queues": list(options.exclude_queues),
            "quiet": options.quiet,
            "supervisor_id": options.supervisor_id,
            "details": details(options),
        }

    def _is_late(self, now: float) -> bool:
        return now - self._renewed_at > get_settings().lease_seconds / 2

    def _clock_jumped(self, now: float) -> bool:
        """Return whether the database's clock went ahead of this host's since the last look.

        A smaller step than this ends no lease that is renewed in time.
        """
        before, self._ahead = self._ahead, unix_time(self._worker.options.using) - now
        return before is not None and self._ahead - before > rescue_seconds()
