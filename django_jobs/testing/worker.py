"""A worker on one database, in the test's thread."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
from collections.abc import Callable, Collection, Iterator
from typing import Any

from django.db.models import Min

from .. import log
from ..beat.fire import fire_due
from ..beat.sync import synchronize
from ..db import clock
from ..maintenance import events, promote, unblock
from ..metrics.capped_count import ready_queues
from ..models import Attempt, AttemptLog, EventWait, Job, Queue, Schedule, Worker
from ..run.environment import Environment
from ..schedules.planning import plan, plan_changed
from ..schedules.ticks import stored, utc
from ..values import Claimed, Outcome
from ..worker.inline import run_ready
from .autocommit import end_transactions

_NAME = "run_jobs"
# No clock that a test plays forward comes that far.
_LEASE_SECONDS = 50 * 366 * 86_400.0


class InlineWorker:
    """Promotes, fires, claims and runs jobs on the database *using*, in the caller's thread."""

    def __init__(self, using: str) -> None:
        self.using = using
        #: The moment, in UTC, at which the clock stands. With None it runs.
        self.moment: datetime.datetime | None = None
        self.row = Worker(name=_NAME, hostname=socket.gethostname(), pid=os.getpid(), pool="solo")
        self._environment = Environment(worker_name=_NAME, using=using, tidy=end_transactions)

    @contextlib.contextmanager
    def registered(self) -> Iterator[InlineWorker]:
        """Have a row with a lease meanwhile, without which no job can be claimed."""
        row: Any = self.row
        row.started_at = row.heartbeat_at = clock(self.using)
        row.lease_until = clock(self.using, _LEASE_SECONDS)
        row.save(using=self.using, force_insert=True)
        try:
            with log.working_as(_NAME):
                yield self
        finally:
            Worker.objects.using(self.using).filter(pk=self.row.pk).delete()

    def read_schedules(self) -> None:
        """Write the schedules of the code and the settings to rows, as beat does at its start."""
        synchronize(self.using)

    def come_to(self, *, fires: bool) -> None:
        """Do what time brings: fire schedules, end waits, promote jobs, wake jobs for permits."""
        if fires:
            while plan(self.using):
                continue
            plan_changed(self.using)
            while fire_due(self.using):
                continue
        events.run_all(self.using)
        promote.run_all(self.using)
        unblock.run_all(self.using)

    def next_due(self, *, schedules: bool) -> datetime.datetime | None:
        """Return the moment at which the next job or schedule is due, in UTC."""
        timed = Job.objects.using(self.using).timed().aggregate(at=Min("run_at"))["at"]
        found = [timed, EventWait.objects.using(self.using).aggregate(at=Min("until"))["at"]]
        if schedules:
            planned = Schedule.objects.using(self.using).filter(enabled=True)
            found.append(planned.aggregate(at=Min("next_run_at"))["at"])
        times = [utc(each) for each in found]
        return min((each for each in times if each is not None), default=None)

    def run_one(
        self, queues: Collection[str] | None, before: Callable[[], object]
    ) -> list[Outcome] | None:
        """Run the first ready job of *queues* (None: of all); return None if there is none.

        A job that a limit lets wait gives an empty list. *before* is called before a claim.
        """
        paused = Queue.objects.using(self.using).filter(paused_at__isnull=False)
        closed = set(paused.values_list("name", flat=True))
        ready = [
            queue
            for queue in ready_queues(self.using)
            if queue not in closed and (queues is None or queue in queues)
        ]
        if not ready:
            return None
        before()
        claimed: list[Claimed] = []
        outcomes = run_ready(
            self.row.pk,
            ready,
            using=self.using,
            limit=1,
            environment=self._environment,
            on_claim=claimed.extend,
        )
        for job in claimed if self.moment is not None else ():
            self._date(job)
        return outcomes if claimed else None

    def _date(self, claimed: Claimed) -> None:
        """Let the times of an attempt be the moment at which the clock stands.

        The rows have them less the time that the body took, as for a clock that runs.
        """
        moment = stored(self.moment)
        for model in (Attempt, AttemptLog):
            rows: Any = model.objects.using(self.using)
            rows = rows.filter(job=claimed.id, claims=claimed.claims)
            rows.update(started_at=moment, ended_at=moment)
        job = Job.objects.using(self.using).filter(pk=claimed.id)
        job.filter(started_at__isnull=False).update(started_at=moment)
        job.filter(ended_at__isnull=False).update(ended_at=moment)
