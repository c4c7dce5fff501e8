"""The row of a worker or a beat: it is registered, renewed and signed off."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.db import Error

from .. import __version__, log
from ..conf import get_settings
from ..db import clock, is_away
from ..ids import uuid7
from ..maintenance import rescue
from ..models import Worker
from ..run.release import release_strays
from .memory import resident_bytes
from .renewal import Sign, renew
from .samples import Samples


def beat_name(base_name: str) -> str:
    """Return the name of the beat beside the workers of that name, or on the host of it."""
    return f"{base_name}-beat"


class Presence:
    """The row of one process in the table of workers, and its lease.

    *columns* returns further columns of :class:`~django_jobs.models.Worker`. *load* returns the
    number of running jobs, and of the jobs that have ended since the process began. *on_lost* is
    called with the new id, before the process registers again, which it does unless *is_over*.
    """

    def __init__(
        self,
        worker_id: UUID,
        name: str,
        using: str,
        *,
        columns: Callable[[], Mapping[str, Any]],
        load: Callable[[], tuple[int, int]] = lambda: (0, 0),
        on_lost: Callable[[UUID], None] = lambda worker_id: None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self.worker_id = worker_id
        self._name = name
        self._using = using
        self._columns = columns
        self._load = load
        self._on_lost = on_lost
        self._is_over = is_over
        self._samples = Samples()
        # Jobs that this process ended under ids that it lost.
        self._done_before = 0

    def register(self) -> None:
        """Write the row; the lease starts now, by the database's clock."""
        now = clock(self._using)
        worker = Worker(
            id=self.worker_id,
            name=self._name,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            started_at=now,
            heartbeat_at=now,
            lease_until=self._lease_until(),
            **self._columns(),
        )
        # A first try may have been committed while its answer was lost: the second finds the row.
        Worker.objects.using(self._using).bulk_create([worker], ignore_conflicts=True)

    def renew(self, *, stopping: bool = False) -> bool:
        """Renew the lease, or register with a new id; return False in the second case.

        The second case is that other workers took this process for dead and have its jobs.
        """
        if self.beat(stopping=stopping) or self._is_over():
            return True
        self.begin_anew()
        self.register()
        return False

    def beat(self, *, stopping: bool = False) -> bool:
        """Renew the lease; return False when other workers took this process for dead.

        *stopping* says that the process is stopping. An update that arrives after the row's end
        changes nothing.
        """
        sign = self.sign(stopping=stopping)
        self._samples.note([sign], sign.seen_at)
        _renewed, over = renew(self._samples.added_to([sign]), self._using)
        return not over

    def sign(self, *, stopping: bool = False) -> Sign:
        """Return a sign of life for the row."""
        running, done = self._load()
        return Sign(
            self.worker_id,
            running,
            done - self._done_before,
            resident_bytes(),
            stopping,
            time.monotonic(),
        )

    def begin_anew(self) -> None:
        """Take a new id: other workers took this process for dead and have its jobs."""
        self.worker_id = uuid7()
        self._on_lost(self.worker_id)
        _running, self._done_before = self._load()

    def sign_off(self) -> None:
        """Mark the row as stopped, unless the database is away.

        It also releases jobs of a claim whose answer was lost.
        """
        _running, done = self._load()
        try:
            with rescue.no_more_claims(self.worker_id, self._using) as rows:
                release_strays(self.worker_id, (), self._using)
                rows.filter(stopped_at=None).update(
                    stopped_at=clock(self._using),
                    lease_until=clock(self._using),
                    busy=0,
                    jobs_done=done - self._done_before,
                )
        except Error as error:
            log.failed("signing off", error, 0.0, away=is_away(error))

    def _lease_until(self) -> Any:
        return clock(self._using, get_settings().lease_seconds)
