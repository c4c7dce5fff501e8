"""Counts of the open jobs, by status and by queue."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connections
from django.db.models import F, QuerySet
from django.utils import timezone

from ..conf import get_settings
from ..db import dialect_for
from ..define import registry
from ..define.routing import database_of
from ..models import EventWait, Job, Queue, Worker
from ..status import Status
from .capped_count import CAP, CappedCount, compiled, of_status
from .waiting import COUNTED, Kind, kinds_of_jobs

# The name of a count, beside those of the statuses.
_QUESTIONS = "QUESTIONS"
# The oldest job of a queue is the oldest among this many that workers claim next.
_OLDEST_AMONG = 100
# Stands in place of a status: the row counts the jobs with one kind of reason to wait.
_KIND = "kind"


@dataclasses.dataclass(slots=True)
class QueueState:
    """A queue that code, settings, workers or rows name. *row* is its own row, if it has one."""

    name: str
    row: Queue | None = None
    ready: CappedCount = dataclasses.field(default_factory=lambda: CappedCount(0))
    running: int = 0
    #: SCHEDULED and RETRY jobs, among the first ten thousand of all queues.
    timed: int = 0
    #: WAITING jobs, among the first ten thousand of all queues.
    waiting: int = 0
    #: When the oldest of the jobs that workers claim next became ready.
    oldest: datetime.datetime | None = None
    #: Slots of the live workers that serve it.
    slots: int = 0

    @property
    def is_idle(self) -> bool:
        """Return whether it has no open jobs, and nobody has paused it."""
        has_jobs = self.ready or self.running or self.waiting or self.timed
        return not has_jobs and not self.is_paused

    @property
    def is_paused(self) -> bool:
        return self.row is not None and self.row.paused_at is not None

    @property
    def oldest_seconds(self) -> float:
        """For how many seconds the oldest ready job has waited."""
        return (
            0.0 if self.oldest is None else max(0.0, (timezone.now() - self.oldest).total_seconds())
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Counted:
    """Open jobs of one status in one queue."""

    status: str
    queue: str
    number: int
    oldest: datetime.datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class OpenJobs:
    """The numbers of jobs."""

    statuses: dict[Status, CappedCount]
    by_queue: list[Counted]
    #: Questions that wait for the answers of people.
    questions: CappedCount
    #: For what WAITING and SCHEDULED jobs wait, among ten thousand of each.
    kinds: Mapping[Kind, int]


def queue_states(
    using: str, live: Iterable[Worker], ready: Iterable[str], counted: Iterable[Counted]
) -> list[QueueState]:
    """Return a state for every queue that code, settings, workers or rows name, by name."""
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
        elif group.status == Status.WAITING:
            state.waiting = group.number
        else:
            state.timed = group.number
    for state in states.values():
        state.slots = sum(worker.slots for worker in workers if worker.serves(state.name))
    return [states[name] for name in sorted(states)]


def open_jobs(using: str, ready: Iterable[str]) -> OpenJobs:
    """Count the jobs of each status, the open jobs by queue, and questions, with one statement."""
    jobs: Any = Job.objects.using(using)
    groups = [(Status.STARTED, "started_at", jobs.running())]
    groups += [(Status.SCHEDULED, "run_at", jobs.timed().order_by("run_at"))]
    groups += [(Status.WAITING, "enqueued_at", of_status(jobs.all(), Status.WAITING))]
    groups += [
        (Status.PENDING, "ready_at", jobs.ready().filter(queue=name).order_by("rank", "pk"))
        for name in ready
    ]
    parts, params = [], []
    for status, column, rows in groups:
        sql, values = compiled(rows.values("queue")[: CAP + 1], using)
        head, head_values = compiled(rows.values(at=F(column))[:_OLDEST_AMONG], using)
        parts.append(
            f"SELECT '{status.value}' AS status, queue, COUNT(*), "  # noqa: S608
            f"(SELECT MIN(at) FROM ({head}) head) FROM ({sql}) counted GROUP BY queue"
        )
        params += [*head_values, *values]
    wholes: dict[str, QuerySet[Any]] = {each: of_status(jobs.all(), each) for each in Status}
    wholes[_QUESTIONS] = EventWait.objects.using(using).filter(approval_id__isnull=False)
    for whole, rows in wholes.items():
        sql, values = compiled(rows.order_by().values("pk")[: CAP + 1], using)
        parts.append(f"SELECT '{whole!s}', NULL, COUNT(*), NULL FROM ({sql}) counted")  # noqa: S608
        params += values
    for rows in kinds_of_jobs(jobs.all()):
        sql, values = compiled(rows[: CAP + 1], using)
        parts.append(f"SELECT '{_KIND}', kind, COUNT(*), NULL FROM ({sql}) counted GROUP BY kind")  # noqa: S608
        params += values
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dialect_for(connection).long_query(cursor, " UNION ALL ".join(parts), params)
    kinds = {Kind(row[1]): row[2] for row in found if row[0] == _KIND}
    found = [row for row in found if row[0] != _KIND]
    counts = {row[0]: CappedCount(row[2]) for row in found if row[1] is None}
    questions = counts.pop(_QUESTIONS)
    by_queue = [
        Counted(status, queue, number, _moment(oldest, using))
        for status, queue, number, oldest in found
        if queue is not None
    ]
    statuses = {Status(one): count for one, count in counts.items()}
    return OpenJobs(statuses, by_queue, questions, kinds)


def waiting(open_jobs: OpenJobs, queues: Iterable[QueueState]) -> dict[Kind, CappedCount]:
    """Return the number of jobs of each reason to wait."""
    numbers = Counter(open_jobs.kinds)
    numbers[Kind.RETRY] = _uncapped(open_jobs.statuses[Status.RETRY])
    for queue in queues:
        kind = Kind.QUEUED if queue.slots else Kind.NO_WORKER
        numbers[Kind.PAUSED if queue.is_paused else kind] += _uncapped(queue.ready)
    return {kind: CappedCount(numbers[kind]) for kind in COUNTED}


def _uncapped(number: CappedCount) -> int:
    return int(number) + number.capped


def oldest_ready(using: str, queues: Iterable[str]) -> dict[str, datetime.datetime]:
    """Return when the oldest of the jobs that workers claim next became ready, by queue.

    Queues without such a job are left out. One statement reads at most a hundred rows per queue.
    """
    names = list(queues)
    if not names:
        return {}
    jobs: Any = Job.objects.using(using)
    rows = jobs.ready().filter(queue=names[0]).order_by("rank", "pk").values(at=F("ready_at"))
    # Compiled once: the queries differ in the queue only.
    sql, values = compiled(rows[:_OLDEST_AMONG], using)
    parts, params = [], list[Any]()
    for number, name in enumerate(names):
        parts.append(f"SELECT {number}, MIN(at) FROM ({sql}) head")  # noqa: S608
        params += [name if value == names[0] else value for value in values]
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dialect_for(connection).long_query(cursor, " UNION ALL ".join(parts), params)
    moments = {names[number]: _moment(at, using) for number, at in found}
    return {name: at for name, at in moments.items() if at is not None}


def _moment(value: Any, using: str) -> datetime.datetime | None:
    """Convert a column of raw SQL to a datetime, as the ORM does."""
    connection = connections[using]
    column = Job._meta.get_field("ready_at").get_col("job")
    for convert in connection.ops.get_db_converters(column):
        value = convert(value, column, connection)
    found: datetime.datetime | None = value
    return found
