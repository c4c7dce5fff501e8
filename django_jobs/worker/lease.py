"""A worker's own row and lease. The coordinator renews the lease."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import Error

from .. import log
from ..conf import get_settings
from ..db import is_away
from ..models import Worker
from ..process.presence import Presence
from .buffer import boot_time
from .roster import Place
from .worker_info import details

if TYPE_CHECKING:
    from .worker import WorkerProcess

_log = logging.getLogger("django_jobs.worker")


class Lease:
    """Registers a worker, and lets its jobs start while the coordinator renews its lease.

    *place* is the worker's entry in the roster.
    """

    def __init__(self, worker: WorkerProcess, place: Place) -> None:
        #: The worker has signed off, or will do so now: a late renewal starts no new lease.
        self.is_over = False
        self._worker = worker
        self._place = place
        self._until = 0.0
        self._must_register = False
        self._presence = Presence(
            worker.worker_id,
            worker.name,
            worker.options.using,
            columns=self._columns,
            load=self._load,
            on_lost=worker.lose_jobs,
        )

    def begin(self) -> None:
        """Write the worker's row."""
        asked_at = boot_time()
        self._presence.register()
        self._worker.collector.synchronize(self._worker.options.using)
        self._must_register = False
        self.report()
        self._place.enter(self._presence.worker_id)
        # The database counts from a later moment, so it ends the lease later.
        self._allow_jobs(asked_at + get_settings().lease_seconds)

    def report(self) -> None:
        """Show the coordinator that the worker lives and what it does."""
        self._place.report(self._presence.sign(stopping=self._worker.was_told_to_stop))

    def look(self) -> None:
        """Take over the end of the lease, as the coordinator renewed it.

        A worker whose lease had ended ends, or gets a new id.
        """
        if self.is_over:
            return
        if self._must_register:
            self._worker.loop.ask("registering", self.begin)
            return
        until = self._place.lease_of(self._presence.worker_id)
        if until is None or until == self._until:
            return
        if until > 0:
            self._allow_jobs(until)
        else:
            self._lost()

    def end(self) -> None:
        """Mark the worker's row as stopped, unless the database is away."""
        self.is_over = True
        self._place.leave()
        try:
            self._worker.collector.flush(self._worker.options.using)
        except Error as error:
            log.failed("signing off", error, 0.0, away=is_away(error))
        else:
            self._presence.sign_off()

    def abandon(self) -> None:
        """Let the lease be renewed no more."""
        self.is_over = True
        self._place.leave()

    def _allow_jobs(self, until: float) -> None:
        self._until = until
        self._worker.buffer.lease(until)
        self._worker.pool.wake()

    def _lost(self) -> None:
        name = self._worker.name
        _log.error("worker lost name=%s: its lease ran out and its jobs were given to others", name)
        self._place.leave()
        self._presence.begin_anew()
        self._must_register = True
        self._worker.loop.ask("registering", self.begin)

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
