"""A snapshot of all open jobs, workers and schedules.

It takes eight statements, however large the tables are, and a few seconds' callers share it. Ended
jobs are not counted; the numbers of the past are in :mod:`.history`.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import BooleanField, Case, Exists, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy

from ..backoff import LONGEST_DEFERRAL
from ..conf import get_settings
from ..db import clock, dialect_for
from ..models import Job, Schedule, Worker
from ..status import Status
from . import cache
from .capped_count import CAP, CappedCount, compiled, of_status, ready_queues
from .history import statistics
from .open_jobs import QueueState, open_jobs, queue_states
from .summaries import PERIODS, Statistics

#: Seconds for which all callers get the same snapshot.
CACHE_SECONDS = 3.0
#: Seconds for the statistics of a day and of a week.
LONG_CACHE_SECONDS = 30.0
#: The newest failed jobs, which are grouped by job function and error.
FAILURES_READ = 2_000
#: Job functions with deferred jobs.
DEFERRALS_READ = 5
#: Rows of workers.
WORKERS_READ = 2_000
#: Schedules that fire next.
SCHEDULES_READ = 8
#: The text for people when :func:`lacks_beat` is true.
NO_BEAT = gettext_lazy("No beat runs: schedules do not fire.")


@dataclasses.dataclass(slots=True)
class FailureGroup:
    """Failed jobs of one job function with one class of error, among the newest."""

    name: str
    error_class: str
    hour: int = 0
    day: int = 0
    week: int = 0
    #: The newest of them.
    sample: UUID | None = None
    last_seen: datetime.datetime | None = None


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
    statuses: Mapping[Status, CappedCount]
    queues: list[QueueState]
    #: Neither stopped nor lost. Their ``vars()`` have ``is_live`` and ``is_late``.
    workers: list[Worker]
    #: The enabled ones that fire next, in this order; ``vars()`` have ``is_overdue``.
    schedules: list[Schedule]
    #: The most frequent first.
    failures: list[FailureGroup]
    #: There are more failed jobs than :data:`FAILURES_READ`.
    failures_capped: bool
    #: The most frequent first.
    deferrals: list[Deferral]
    #: Schedules are enabled, and no live beat fires them.
    lacks_beat: bool

    @property
    def beats(self) -> list[Worker]:
        """The live processes that fire schedules."""
        return [one for one in self.workers if one.pool == Worker.BEAT and vars(one)["is_live"]]

    @property
    def executing(self) -> list[Worker]:
        """The live processes that run jobs."""
        return [one for one in self.workers if one.pool != Worker.BEAT and vars(one)["is_live"]]

    @property
    def slots(self) -> int:
        """How many jobs the live workers can run at once."""
        return sum(worker.slots for worker in self.executing)


# The cache knows what it keeps by the function that reads it: one for each period.
_READERS: dict[str, Callable[[str], Statistics]] = {
    name: functools.partial(statistics, name) for name in PERIODS
}


def overview(using: str = "") -> Overview:
    """Return a snapshot of the database *using* that is at most :data:`CACHE_SECONDS` old."""
    return cache.recent(look, using, CACHE_SECONDS)


def failure_groups(using: str = "") -> tuple[list[FailureGroup], bool]:
    """Return the groups of failed jobs as :class:`Overview` has them, and whether it is capped."""
    return cache.recent(_failure_groups, using, CACHE_SECONDS)


def recent_statistics(period: str = "1h", using: str = "") -> Statistics:
    """Return :func:`~django_jobs.metrics.statistics`, at most some seconds old.

    For the long periods that is :data:`LONG_CACHE_SECONDS`, as their last step changes slowly.
    """
    seconds = CACHE_SECONDS if period == "1h" else LONG_CACHE_SECONDS
    return cache.recent(_READERS[period], using, seconds)


def look(using: str) -> Overview:
    """Read a snapshot now."""
    workers = _workers(using)
    groups, capped = failure_groups(using)
    ready = ready_queues(using)
    statuses, counted = open_jobs(using, ready)
    live = [one for one in workers if vars(one)["is_live"]]
    return Overview(
        at=timezone.now(),
        statuses=statuses,
        queues=queue_states(using, live, ready, counted),
        workers=workers,
        schedules=list(_next_schedules(using)),
        failures=groups,
        failures_capped=capped,
        deferrals=_deferrals(using),
        lacks_beat=lacks_beat(using),
    )


def lacks_beat(using: str) -> bool:
    """Return whether schedules are enabled and no live beat fires them."""
    live: Any = Worker.objects.using(using)
    beats = live.live().filter(pool=Worker.BEAT)
    return Schedule.objects.using(using).filter(~Exists(beats), enabled=True).exists()


def _workers(using: str) -> list[Worker]:
    # Compared with the database's clock: this host's may be wrong.
    lives = When(lost_at=None, lease_until__gte=clock(using), then=Value(True))
    late_after = -3 * get_settings().heartbeat_seconds
    late = When(heartbeat_at__lt=clock(using, late_after), then=Value(True))
    rows = Worker.objects.using(using).filter(stopped_at=None, lost_at=None)
    flags = {
        "is_live": Case(lives, default=Value(False), output_field=BooleanField()),
        "is_late": Case(late, default=Value(False), output_field=BooleanField()),
    }
    return list(rows.annotate(**flags).order_by("hostname", "pid")[:WORKERS_READ])


def _next_schedules(using: str) -> QuerySet[Schedule]:
    overdue = When(next_run_at__lt=clock(using, -60), then=Value(True))
    rows = Schedule.objects.using(using).filter(enabled=True, next_run_at__isnull=False)
    flag = Case(overdue, default=Value(False), output_field=BooleanField())
    return rows.annotate(is_overdue=flag).order_by("next_run_at")[:SCHEDULES_READ]


def _failure_groups(using: str) -> tuple[list[FailureGroup], bool]:
    jobs: Any = Job.objects.using(using)
    newest = of_status(jobs.all(), Status.FAILURE).order_by("-pk")
    rows = list(newest.values_list("pk", "name", "error_class", "ended_at")[: FAILURES_READ + 1])
    now, groups = timezone.now(), dict[tuple[str, str], FailureGroup]()
    for pk, name, error_class, ended_at in rows[:FAILURES_READ]:
        group = groups.setdefault((name, error_class), FailureGroup(name, error_class))
        age = (now - ended_at).total_seconds() if ended_at else 0.0
        group.hour += age < 3600
        group.day += age < 86_400
        group.week += age < 604_800
        if group.last_seen is None or (ended_at and ended_at > group.last_seen):
            group.last_seen, group.sample = ended_at, pk
    by_number = sorted(groups.values(), key=lambda group: (-group.day, -group.week, group.name))
    return by_number, len(rows) > FAILURES_READ


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
