"""A worker's own row and lease, and its judgement of other workers' leases."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.db import Error

from .. import log
from ..conf import get_settings
from ..db import is_away, unix_time
from ..maintenance import rescue
from ..process import heartbeat
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
        self._worker = worker
        self._clock = clock
        self._renewed_at = self._judges_from = math.inf
        # By how much the database's clock is ahead of this host's; None before the first look.
        self._ahead: float | None = None
        # Jobs that this process ended under an id that it lost.
        self._done_before = 0

    def begin(self) -> None:
        """Write the worker's row."""
        worker, options = self._worker, self._worker.options
        asked_at = boot_time()
        heartbeat.register(
            worker.worker_id,
            worker.name,
            options.using,
            pool=options.pool,
            slots=options.slots,
            queues=options.queues,
            exclude_queues=options.exclude_queues,
            quiet=options.quiet,
            supervisor_id=options.supervisor_id,
            details=details(options),
        )
        worker.collector.synchronize(options.using)
        self._renewed_at = self._clock()
        self._judges_from = self._renewed_at + rescue_seconds()
        self._allow_jobs(asked_at)

    def renew(self) -> None:
        """Renew the lease. A worker whose lease had ended ends, or gets a new id."""
        worker = self._worker
        _waiting, running, _ended = worker.buffer.counts()
        asked_at = boot_time()
        if heartbeat.beat(
            worker.worker_id,
            worker.options.using,
            busy=running,
            done=self._done(),
            stopping=worker.was_told_to_stop,
        ):
            self._allow_jobs(asked_at)
        else:
            self._lost()
        now = self._clock()
        if self._is_late(now):
            self._judges_from = now + rescue_seconds()
        self._renewed_at = now

    def end(self) -> None:
        """Mark the worker's row as stopped, unless the database is away."""
        worker, using = self._worker, self._worker.options.using
        try:
            worker.collector.flush(using)
            heartbeat.sign_off(worker.worker_id, using, done=self._done())
        except Error as error:
            log.failed("signing off", error, 0.0, away=is_away(error))

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

    def _allow_jobs(self, asked_at: float) -> None:
        # The database counts from a later moment, so it ends the lease later.
        self._worker.buffer.lease(asked_at + get_settings().lease_seconds)
        self._worker.pool.wake()

    def _lost(self) -> None:
        worker = self._worker
        _log.error(
            "worker lost name=%s: its lease ran out and its jobs were given to others", worker.name
        )
        worker.lose_jobs()
        self._done_before = worker.buffer.jobs_done
        self.begin()

    def _done(self) -> int:
        return self._worker.buffer.jobs_done - self._done_before

    def _is_late(self, now: float) -> bool:
        return now - self._renewed_at > get_settings().lease_seconds / 2

    def _clock_jumped(self, now: float) -> bool:
        """Return whether the database's clock went ahead of this host's since the last look.

        A smaller step than this ends no lease that is renewed in time.
        """
        before, self._ahead = self._ahead, unix_time(self._worker.options.using) - now
        return before is not None and self._ahead - before > rescue_seconds()
