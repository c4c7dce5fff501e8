"""Whether a claimed job may start now: concurrency and rate limits, of functions and of queues.

It comes between claim and execute. A job becomes WAITING if its concurrency limit has no free
permit, and SCHEDULED for a later time if its rate allows no start now. A job without limits costs
two lookups in sets.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import connections

from .. import transitions
from ..db import dialect_for, unix_time, without_deadlock
from ..define import registry
from ..define.conversion import refuse_misfits
from ..define.rates import Window
from ..enqueue.notify import Topic, announce
from ..locking import limits_locked
from ..models import Job
from ..serialization import loads
from ..status import Status
from ..values import Claimed, Outcome
from . import concurrency, rate_windows
from .rules import Bound, Rules, read_rules

# Limits of rows and settings are read again after this time.
_RULES_SECONDS = 1.0


class Admission:
    """Decides for one worker which claimed jobs may start; the others wait."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._rules = Rules()
        self._read_at = -_RULES_SECONDS

    def admit(
        self, worker_id: UUID, jobs: Sequence[Claimed]
    ) -> tuple[list[Claimed], list[tuple[Claimed, Exception]]]:
        """Return the jobs that may start, in their order, and those whose key functions failed."""
        now = time.monotonic()
        if jobs and now - self._read_at >= _RULES_SECONDS:
            self._rules, self._read_at = read_rules(self._using), now
        rules = self._rules
        functions, queues = rules.functions, rules.queues
        if not functions and not queues:
            return list(jobs), []
        bounds: dict[UUID, list[Bound]] = {}
        failed: list[tuple[Claimed, Exception]] = []
        for job in jobs:
            if (job.name in functions or job.queue in queues) and not job.problem:
                try:
                    bounds[job.id] = rules.bounds_of(job)
                except Exception as error:
                    # If the call does not fit the function, execute says so.
                    if _fits(job):
                        failed.append((job, error))
        limited = [job for job in jobs if bounds.get(job.id)]
        stopped = {job.id for job, _error in failed}
        if limited:
            batch = _decided(worker_id, limited, bounds, self._using)
            stopped |= batch.stopped
        return [job for job in jobs if job.id not in stopped], failed


def _fits(job: Claimed) -> bool:
    function = registry.find(job.name)
    try:
        if function is not None:
            args, kwargs = loads(job.args), loads(job.kwargs)
            function.bind(args, kwargs)
            refuse_misfits(function, args, kwargs)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _decided(
    worker_id: UUID, jobs: list[Claimed], bounds: Mapping[UUID, list[Bound]], using: str
) -> _Batch:
    def decide() -> _Batch:
        batch = _Batch(worker_id, jobs, bounds, using)
        with limits_locked({bound.key for job in jobs for bound in bounds[job.id]}, using):
            batch.decide()
            batch.write()
        return batch

    return without_deadlock(using, decide)


class _Batch:
    """Decides about all limited jobs of one claim, while their limits are locked."""

    def __init__(
        self,
        worker_id: UUID,
        jobs: list[Claimed],
        bounds: Mapping[UUID, list[Bound]],
        using: str,
    ) -> None:
        self.worker_id, self.jobs, self.bounds, self.using = worker_id, jobs, bounds, using
        self.admitted: list[Claimed] = []
        self.waiting: dict[str, list[UUID]] = {}
        self.later: list[tuple[Claimed, float]] = []
        # Permits that a job was woken for and does not take go to the next job in line.
        self.left: Counter[str] = Counter()
        self.most: dict[str, int] = {}
        self.taken: Counter[str] = Counter()
        self.lines: dict[str, rate_windows.Line] = {}

    @property
    def stopped(self) -> set[UUID]:
        waiting = {job_id for ids in self.waiting.values() for job_id in ids}
        return waiting | {job.id for job, _slot in self.later}

    def decide(self) -> None:
        every = [bound for job in self.jobs for bound in self.bounds[job.id]]
        self.most = {bound.key: bound.permits for bound in every if bound.permits}
        if self.most:
            self.taken = concurrency.taken(self.most, self.using)
        if any(bound.windows for bound in every):
            self._read_lines()
        for job in self._in_line():
            self._decide(job, self.bounds[job.id])

    def _read_lines(self) -> None:
        # In this order, so that no job begins later by the database's clock than computed here.
        self.began, self.now = time.monotonic(), unix_time(self.using)
        wanted: dict[str, tuple[Sequence[Window], set[UUID]]] = {}
        for job in self.jobs:
            for bound in self.bounds[job.id]:
                if bound.windows:
                    wanted.setdefault(bound.key, (bound.windows, set()))[1].add(job.id)
        self.lines = rate_windows.lines(wanted, self.now, self.using)

    def _in_line(self) -> list[Claimed]:
        """Return the jobs that have slots, in the order of the slots, and then the others."""
        numbers: dict[UUID, int] = {}
        for line in self.lines.values():
            for job_id, number in line.own.items():
                numbers[job_id] = min(number, numbers.get(job_id, number))
        had = sorted((job for job in self.jobs if job.id in numbers), key=lambda j: numbers[j.id])
        return had + [job for job in self.jobs if job.id not in numbers]

    def _decide(self, job: Claimed, bounds: Sequence[Bound]) -> None:
        job.permits, job.begin_by = (), None
        wanted = [bound.key for bound in bounds if bound.permits]
        if job.expired or registry.find(job.name) is None:
            # It does not run; execute says why.
            self.left.update(wanted)
            return
        for key in wanted:
            if self.taken[key] >= self.most[key]:
                self.waiting.setdefault(key, []).append(job.id)
                self.left.update(wanted)
                return
        lines = [self.lines[bound.key] for bound in bounds if bound.windows]
        slot = max((line.slot(job.id, self.now) for line in lines), default=0.0)
        if lines and slot > self.now:
            for line in lines:
                line.reserve(job.id, slot)
            self.later.append((job, slot))
            self.left.update(wanted)
            return
        for line in lines:
            line.start(job.id, self.now)
        if lines:
            job.begin_by = self.began + min(line.slack for line in lines)
        job.permits = tuple(wanted)
        self.taken.update(wanted)
        self.admitted.append(job)

    def write(self) -> None:
        held = [job for job in self.admitted if job.permits]
        if held:
            concurrency.take(held, self.using)
        if self.lines:
            claims = {job.id: job.claims for job in self.jobs}
            rate_windows.save(self.lines.values(), claims, self.using)
        ours = Job.objects.using(self.using).filter(status=Status.STARTED, worker_id=self.worker_id)
        woken: list[UUID] = []
        if self.most:
            were_in_line = ours.filter(
                id__in=[job.id for job in self.jobs], waiting_for__isnull=False
            )
            woken = list(were_in_line.values_list("id", flat=True))
        if changing := {*woken, *self.stopped}:
            list(ours.filter(id__in=changing).order_by("id").select_for_update().values_list("id"))
        if woken:
            ours.filter(id__in=woken).update(waiting_for=None)
        for key, ids in self.waiting.items():
            transitions.wait_for_limit(ours.filter(id__in=ids), key)
        if self.later:
            self._postpone()
        concurrency.wake(
            {
                key: min(number, self.most[key] - self.taken[key])
                for key, number in self.left.items()
            },
            self.using,
        )

    def _postpone(self) -> None:
        connection = connections[self.using]
        outcomes = []
        for job, slot in self.later:
            outcomes.append(outcome := Outcome.of(job, Status.SCHEDULED))
            outcome.delay = slot - self.now
        with connection.cursor() as cursor:
            dialect_for(connection).write_outcomes(cursor, self.worker_id, outcomes)
        Job.objects.using(self.using).filter(
            id__in=[job.id for job, _slot in self.later], status=Status.SCHEDULED
        ).update(started_at=None, worker_id=None)
        announce(self.using, {Topic.TIMED})
