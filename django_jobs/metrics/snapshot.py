"""A snapshot of all open jobs, workers and schedules.

It takes seven statements or less, however large the tables are. The callers of a few seconds share
it. Ended jobs are not counted; the numbers of the past are in :mod:`.history`.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.models import BooleanField, Case, Exists, Q, QuerySet, Subquery, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy

from ..backoff import LONGEST_DEFERRAL
from ..db import clock, dialect_for
from ..models import Job, Schedule, Worker
from ..status import QUEUED, Status
from . import cache
from .capped_count import (
    CAP,
    CappedCount,
    capped_counts,
    compiled,
    of_status,
    ready_queues,
)
from .history import marks, statistics
from .open_jobs import QueueState, open_jobs, queue_states, waiting
from .summaries import PERIODS, Statistics
from .waiting import Kind
from .worker_states import WorkerState, flagged_workers, worker_states

#: Seconds for which all callers get the same snapshot.
CACHE_SECONDS = 3.0
#: Seconds for the alerts and the choices on a page of rows, which is read anew at each request.
STRIP_SECONDS = 15.0
#: Seconds for the statistics of a day and of a week.
LONG_CACHE_SECONDS = 30.0
#: Job functions with deferred jobs.
DEFERRALS_READ = 5
#: Schedules that fire next.
SCHEDULES_READ = 8
_NOTHING = CappedCount(0)
#: The text for people when :func:`lacks_beat` is true.
NO_BEAT = gettext_lazy("No beat runs: schedules do not fire.")


@dataclasses.dataclass(frozen=True, slots=True)
class Deferral:
    """Jobs of one job function that workers released because they could not run them."""

    name: str
    number: CappedCount
    #: Why a worker could not run one of them.
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Overview:
    """A snapshot of one database."""

    at: datetime.datetime
    statuses: Mapping[Status, CappedCount] = dataclasses.field(default_factory=dict)
    #: STARTED jobs that run. Workers have claimed the other ones ahead.
    running: CappedCount = _NOTHING
    #: Questions of jobs that wait for the answers of people.
    questions: CappedCount = _NOTHING
    #: How many jobs wait for what: see :data:`.waiting.COUNTED`.
    waiting: Mapping[Kind, CappedCount] = dataclasses.field(default_factory=dict)
    queues: list[QueueState] = dataclasses.field(default_factory=list)
    #: Neither stopped nor lost, by host and process.
    workers: list[WorkerState] = dataclasses.field(default_factory=list)
    #: The enabled ones that fire next, in this order; ``vars()`` have ``is_overdue``.
    schedules: list[Schedule] = dataclasses.field(default_factory=list)
    #: The most frequent first.
    deferrals: list[Deferral] = dataclasses.field(default_factory=list)
    #: Schedules are enabled, and no live beat fires them.
    lacks_beat: bool = False

    @property
    def beats(self) -> list[WorkerState]:
        """The live processes that fire schedules."""
        return [one for one in self.workers if one.pool == Worker.BEAT and one.is_live]

    @property
    def executing(self) -> list[WorkerState]:
        """The live processes that run jobs."""
        return [one for one in self.workers if one.pool != Worker.BEAT and one.is_live]

    @property
    def slots(self) -> int:
        """How many jobs the live workers can run at once."""
        return sum(worker.slots for worker in self.executing)


# The cache knows what it keeps by the function that reads it: one for each period.
_READERS: dict[str, Callable[[str], Statistics]] = {
    name: functools.partial(statistics, name) for name in PERIODS
}

_MARKS: dict[str, Callable[[str], list[tuple[int, str]]]] = {
    name: functools.partial(marks, period.seconds) for name, period in PERIODS.items()
}


def overview(using: str = "") -> Overview:
    """Return a snapshot of the database *using* that is at most :data:`CACHE_SECONDS` old."""
    return cache.recent(look, using, CACHE_SECONDS)


def earlier_overview(using: str = "", model: str = "job") -> Overview:
    """Return a snapshot of the database *using* that is at most :data:`STRIP_SECONDS` old.

    That for another *model* than "job" holds no more than the alerts about that model need.
    """
    return cache.recent(_LOOKS.get(model, look), using, STRIP_SECONDS)


def recent_marks(period: str, using: str) -> list[tuple[int, str]]:
    """Return the marks of *period*, at most :data:`CACHE_SECONDS` old."""
    return cache.recent(_MARKS[period], using, CACHE_SECONDS)


def recent_statistics(period: str = "1h", using: str = "") -> Statistics:
    """Return :func:`~django_jobs.metrics.statistics`, at most some seconds old.

    For the long periods that is :data:`LONG_CACHE_SECONDS`, as their last step changes slowly.
    """
    seconds = CACHE_SECONDS if period == "1h" else LONG_CACHE_SECONDS
    return cache.recent(_READERS[period], using, seconds)


def look(using: str) -> Overview:
    """Read a snapshot now."""
    workers = worker_states(flagged_workers(using))
    ready = ready_queues(using)
    counted = open_jobs(using, ready)
    live = [one for one in workers if one.is_live]
    queues = queue_states(using, live, ready, counted.by_queue)
    return Overview(
        at=timezone.now(),
        statuses=counted.statuses,
        running=counted.running,
        questions=counted.questions,
        waiting=waiting(counted, queues),
        queues=queues,
        workers=workers,
        schedules=list(_next_schedules(using)),
        deferrals=_deferrals(using) if counted.kinds.get(Kind.DEFERRED) else [],
        lacks_beat=_lacks_beat(workers, using),
    )


def _look_at_workers(using: str) -> Overview:
    """Read workers without a heartbeat and a live one; without that, how many jobs wait for it."""
    flagged: Any = flagged_workers(using)
    live = flagged.filter(is_live=True).exclude(pool=Worker.BEAT).values("pk")[:1]
    some = flagged.filter(Q(is_late=True) | Q(pk=Subquery(live)))
    found = Overview(at=timezone.now(), workers=worker_states(some))
    if found.executing:
        return found
    jobs: Any = Job.objects.using(using)
    queued = {status: of_status(jobs.all(), status) for status in QUEUED}
    return dataclasses.replace(found, statuses=capped_counts(queued, using))


def _look_at_schedules(using: str) -> Overview:
    """Read the schedules that fire next, and whether a beat does that."""
    schedules = list(_next_schedules(using))
    return Overview(at=timezone.now(), schedules=schedules, lacks_beat=lacks_beat(using))


_LOOKS = {"worker": _look_at_workers, "schedule": _look_at_schedules}


def lacks_beat(using: str) -> bool:
    """Return whether schedules are enabled and no live beat fires them."""
    live: Any = Worker.objects.using(using)
    beats = live.live().filter(pool=Worker.BEAT)
    return Schedule.objects.using(using).filter(~Exists(beats), enabled=True).exists()


def _lacks_beat(workers: Sequence[WorkerState], using: str) -> bool:
    """Return what :func:`lacks_beat` does, without its statement if there are workers."""
    if not workers:
        return lacks_beat(using)
    beats = (one for one in workers if one.pool == Worker.BEAT and one.is_live)
    return workers[0].has_schedules and not any(beats)


def _next_schedules(using: str) -> QuerySet[Schedule]:
    overdue = When(next_run_at__lt=clock(using, -60), then=Value(True))
    rows = Schedule.objects.using(using).filter(enabled=True, next_run_at__isnull=False)
    flag = Case(overdue, default=Value(False), output_field=BooleanField())
    return rows.annotate(is_overdue=flag).order_by("next_run_at")[:SCHEDULES_READ]


def _deferrals(using: str) -> list[Deferral]:
    jobs: Any = Job.objects.using(using)
    # A deferred job is scheduled within this time.
    soon = of_status(jobs.all(), Status.SCHEDULED).filter(
        run_at__lte=clock(using, LONGEST_DEFERRAL)
    )
    columns = ("name", "error_class", "error_message")
    sql, params = compiled(soon.order_by("run_at").values(*columns)[: CAP + 1], using)
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dialect_for(connection).long_query(
            cursor,
            f"SELECT name, COUNT(*), MIN(error_message) FROM ({sql}) counted "  # noqa: S608
            "WHERE error_class <> '' GROUP BY name ORDER BY 2 DESC, 1 LIMIT %s",
            [*params, DEFERRALS_READ],
        )
    return [Deferral(name, CappedCount(number), reason) for name, number, reason in found]
