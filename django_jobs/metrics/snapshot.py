"""How things stand at this moment, read from the open rows: the history is never counted.

One look costs eight statements, whatever the tables hold, and serves everybody for some seconds.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.db import connections
from django.db.models import BooleanField, Case, Exists, F, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy

from ..backoff import LONGEST_DEFERRAL
from ..conf import get_settings
from ..db import clock, dialect_for
from ..define import registry
from ..define.routing import database_of
from ..models import Job, Queue, Schedule, Worker
from ..status import Status
from .capped_count import CAP, CappedCount, of_status, ready_queues
from .history import WINDOWS, Statistics, statistics

#: For so many seconds everybody is told the same.
CACHE_SECONDS = 3.0
#: The same for the numbers of a day and of a week.
LONG_CACHE_SECONDS = 30.0
#: The oldest job of a queue is looked for among so many that its workers take next.
OLDEST_AMONG = 100
#: So many of the newest failed jobs are told apart by job function and error.
FAILURES_READ = 2_000
#: Of so many job functions that no worker can run the jobs are counted.
DEFERRALS_READ = 5
#: So many rows of workers are read.
WORKERS_READ = 2_000
#: What people read when :func:`lacks_beat` is true.
NO_BEAT = gettext_lazy("No beat runs: schedules do not fire.")
#: So many of the schedules that come next are read.
SCHEDULES_READ = 8


@dataclasses.dataclass(slots=True)
class QueueState:
    """A queue that code, settings, workers or rows name; its own row, if it has one, is *row*."""

    name: str
    row: Queue | None = None
    ready: CappedCount = dataclasses.field(default_factory=lambda: CappedCount(0))
    running: int = 0
    #: Jobs that wait for their time, among the first ten thousand of all queues.
    timed: int = 0
    #: When the oldest of those that are taken next became ready.
    oldest: datetime.datetime | None = None
    #: Slots of the live workers that take jobs from it.
    slots: int = 0

    @property
    def is_paused(self) -> bool:
        return self.row is not None and self.row.paused_at is not None

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest ready job has waited."""
        return 0.0 if self.oldest is None else max(0.0, (_now() - self.oldest).total_seconds())


@dataclasses.dataclass(slots=True)
class FailureGroup:
    """Failed jobs of one job function with one error, among the newest."""

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
    """Jobs of one job function that workers gave back, as they cannot run them."""

    name: str
    number: CappedCount
    #: Why the last worker could not run one of them.
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Overview:
    """One look at everything that is open."""

    at: datetime.datetime
    statuses: Mapping[Status, CappedCount]
    queues: list[QueueState]
    #: Neither stopped nor given up; ``is_live`` and ``is_late`` are in each row's ``vars``.
    workers: list[Worker]
    #: Enabled ones that come next, the first of them first; some may be overdue.
    schedules: list[Schedule]
    #: The most frequent first.
    failures: list[FailureGroup]
    #: There are more failed jobs than were told apart.
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


T = TypeVar("T")

# One for each window: what is kept is known by what reads it.
WINDOW_READERS: dict[str, Callable[[str], Statistics]] = {
    name: functools.partial(statistics, name) for name in WINDOWS
}
_lock = threading.RLock()
_looks: dict[tuple[Callable[[str], Any], str], tuple[float, Any]] = {}


def overview(using: str = "") -> Overview:
    """Return a look at the database *using* that is at most :data:`CACHE_SECONDS` old."""
    return _recent(look, using, CACHE_SECONDS)


def failures(using: str = "") -> tuple[list[FailureGroup], bool]:
    """Return the groups of failed jobs as :class:`Overview` has them, and whether some are left."""
    return _recent(_failures, using, CACHE_SECONDS)


def recent_statistics(window: str = "1h", using: str = "") -> Statistics:
    """Return the numbers of a window, kept for a while.

    *window* is one of :data:`~django_jobs.metrics.history.WINDOWS`.

    Long ones are read anew once in :data:`LONG_CACHE_SECONDS`: their last step changes slowly.
    """
    seconds = CACHE_SECONDS if window == "1h" else LONG_CACHE_SECONDS
    return _recent(WINDOW_READERS[window], using, seconds)


def forget() -> None:
    """Make the next one look anew, after a change that its reader must see."""
    with _lock:
        _looks.clear()


def _recent(read: Callable[[str], T], using: str, seconds: float) -> T:
    key = (read, using or get_settings().database)
    # Who comes while another one looks waits for that look.
    with _lock:
        taken, known = _looks.get(key, (0.0, None))
        if known is None or time.monotonic() - taken > seconds:
            known = read(key[1])
            _looks[key] = (time.monotonic(), known)
        found: T = known
        return found


def look(using: str) -> Overview:
    """Read how things stand, now."""
    workers = _workers(using)
    groups, capped = failures(using)
    ready = ready_queues(using)
    statuses, counted = _open_jobs(using, ready)
    live = [one for one in workers if vars(one)["is_live"]]
    return Overview(
        at=_now(),
        statuses=statuses,
        queues=_queues(using, live, ready, counted),
        workers=workers,
        schedules=list(_next_schedules(using)),
        failures=groups,
        failures_capped=capped,
        deferrals=_deferrals(using),
        lacks_beat=lacks_beat(using),
    )


def lacks_beat(using: str) -> bool:
    """Tell whether schedules are enabled that no live beat fires; :data:`NO_BEAT` says it."""
    live: Any = Worker.objects.using(using)
    beats = live.live().filter(pool=Worker.BEAT)
    return Schedule.objects.using(using).filter(~Exists(beats), enabled=True).exists()


# --- queues ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Counted:
    """Open jobs of one status in one queue."""

    status: str
    queue: str
    number: int
    oldest: datetime.datetime | None


def _queues(
    using: str, live: Iterable[Worker], ready: Iterable[str], counted: Iterable[_Counted]
) -> list[QueueState]:
    settings = get_settings()
    rows = {row.name: row for row in Queue.objects.using(using).all()}
    workers = [worker for worker in live if not worker.quiet]
    served = {str(name) for worker in workers for name in worker.queues}
    coded = {function.options.queue for function in registry.every()} - {None}
    named = {settings.default_queue, *settings.queues, *map(str, coded), *served, *rows}
    names = {*ready, *(name for name in named if database_of(name) == using)}
    states = {name: QueueState(name, row=rows.get(name)) for name in names}
    for group in counted:
        state = states.setdefault(group.queue, QueueState(group.queue))
        if group.status == Status.PENDING:
            state.ready, state.oldest = CappedCount(group.number), group.oldest
        elif group.status == Status.STARTED:
            state.running = group.number
        else:
            state.timed = group.number
    for state in states.values():
        state.slots = sum(worker.slots for worker in workers if worker.serves(state.name))
    return [states[name] for name in sorted(states)]


def _open_jobs(
    using: str, ready: Iterable[str]
) -> tuple[dict[Status, CappedCount], list[_Counted]]:
    """Count the jobs of each status, and the open ones by queue, all with one statement."""
    jobs: Any = Job.objects.using(using)
    groups = [(Status.STARTED, "started_at", jobs.running())]
    groups += [(Status.SCHEDULED, "run_at", jobs.timed().order_by("run_at"))]
    groups += [
        (Status.PENDING, "ready_at", jobs.ready().filter(queue=name).order_by("rank", "pk"))
        for name in ready
    ]
    parts, params = [], []
    for status, column, rows in groups:
        sql, values = _select(rows.values("queue")[: CAP + 1], using)
        head, head_values = _select(rows.values(at=F(column))[:OLDEST_AMONG], using)
        parts.append(
            f"SELECT '{status.value}' AS status, queue, COUNT(*), "  # noqa: S608
            f"(SELECT MIN(at) FROM ({head}) head) FROM ({sql}) counted GROUP BY queue"
        )
        params += [*head_values, *values]
    for status in Status:
        rows = of_status(jobs.all(), status).order_by().values("pk")[: CAP + 1]
        sql, values = _select(rows, using)
        parts.append(f"SELECT '{status.value}', NULL, COUNT(*), NULL FROM ({sql}) counted")  # noqa: S608
        params += values
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dialect_for(connection).long_query(cursor, " UNION ALL ".join(parts), params)
    statuses = {Status(row[0]): CappedCount(row[2]) for row in found if row[1] is None}
    by_queue = [
        _Counted(status, queue, number, _moment(oldest, using))
        for status, queue, number, oldest in found
        if queue is not None
    ]
    return statuses, by_queue


def _select(rows: QuerySet[Any], using: str) -> tuple[str, tuple[Any, ...]]:
    sql, params = rows.query.get_compiler(using).as_sql()
    return sql, tuple(params)


def _moment(value: Any, using: str) -> datetime.datetime | None:
    """Return a time as the ORM would have read it."""
    connection = connections[using]
    column = Job._meta.get_field("ready_at").get_col("job")
    for convert in connection.ops.get_db_converters(column):
        value = convert(value, column, connection)
    found: datetime.datetime | None = value
    return found


# --- workers, schedules, failures -----------------------------------------------------------------


def _workers(using: str) -> list[Worker]:
    # By the database's clock: this host's may be wrong.
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


def _failures(using: str) -> tuple[list[FailureGroup], bool]:
    jobs: Any = Job.objects.using(using)
    newest = of_status(jobs.all(), Status.FAILURE).order_by("-pk")
    rows = list(newest.values_list("pk", "name", "error_class", "ended_at")[: FAILURES_READ + 1])
    now, groups = _now(), dict[tuple[str, str], FailureGroup]()
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
    # A job is given back for a minute at most.
    soon = of_status(jobs.all(), Status.SCHEDULED).filter(
        run_at__lte=clock(using, LONGEST_DEFERRAL)
    )
    columns = ("name", "error_class", "error_message")
    sql, params = _select(soon.order_by("run_at").values(*columns)[: CAP + 1], using)
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dialect_for(connection).long_query(
            cursor,
            f"SELECT name, COUNT(*), MIN(error_message) FROM ({sql}) counted "  # noqa: S608
            "WHERE error_class <> '' GROUP BY name ORDER BY 2 DESC, 1 LIMIT %s",
            [*params, DEFERRALS_READ],
        )
    return [Deferral(name, CappedCount(number), reason) for name, number, reason in found]


def _now() -> datetime.datetime:
    return timezone.now()
