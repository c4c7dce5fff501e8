"""Counts of the open jobs, by status and by queue."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from ..conf import get_settings
from ..db import dialect_for
from ..define import registry
from ..define.routing import database_of
from ..models import EventWait, Job, JobQuerySet, Queue, Worker
from ..status import Status
from .capped_count import CAP, CappedCount, compiled, of_status
from .waiting import COUNTED, Kind, kinds_of_jobs

# The name of a count, beside those of the statuses.
_QUESTIONS = "QUESTIONS"
# The oldest job of a queue is the oldest among this many that workers claim next.
_OLDEST_AMONG = 100
# In place of a status: SCHEDULED and RETRY jobs.
_TIMED = "TIMED"


@dataclasses.dataclass(slots=True)
class QueueState:
    """A queue that code, settings, workers or rows name. *row* is its own row, if it has one."""

    name: str
    row: Queue | None = None
    ready: CappedCount = dataclasses.field(default_factory=lambda: CappedCount(0))
    running: int = 0
    #: Jobs that workers have claimed ahead and that have not begun.
    claimed: int = 0
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
        has_jobs = self.ready or self.running or self.claimed or self.waiting or self.timed
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


@dataclasses.dataclass(slots=True)
class Counted:
    """Open jobs of one status in one queue."""

    number: int = 0
    #: How many of STARTED jobs run; the others are claimed ahead.
    running: int = 0
    oldest: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class OpenJobs:
    """The numbers of jobs."""

    statuses: Mapping[Status, CappedCount]
    #: By status and queue. SCHEDULED and RETRY jobs count as one status, :data:`_TIMED`.
    by_queue: Mapping[tuple[str, str], Counted]
    #: STARTED jobs that run; the others are claimed ahead.
    running: CappedCount
    #: Questions that wait for the answers of people.
    questions: CappedCount
    #: For what WAITING and SCHEDULED jobs wait, among ten thousand of each.
    kinds: Mapping[Kind, int]


def queue_states(
    using: str,
    live: Iterable[Worker],
    ready: Iterable[str],
    counted: Mapping[tuple[str, str], Counted],
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
    for (status, name), group in counted.items():
        state = states.setdefault(name, QueueState(name))
        if status == Status.PENDING:
            state.ready, state.oldest = CappedCount(group.number), group.oldest
        elif status == Status.STARTED:
            state.running, state.claimed = group.running, group.number - group.running
        elif status == Status.WAITING:
            state.waiting = group.number
        else:
            state.timed = group.number
    for state in states.values():
        state.slots = sum(worker.slots for worker in workers if worker.serves(state.name))
    return [states[name] for name in sorted(states)]


def open_jobs(using: str, ready: Iterable[str]) -> OpenJobs:
    """Count the jobs of each status, the open jobs by queue, and questions, with one statement.

    It reads the rows of an open status once or twice, and of each at most :data:`CAP` + 1.
    """
    jobs: Any = Job.objects.using(using)
    waiting, scheduled = kinds_of_jobs(jobs.all())
    questions = EventWait.objects.using(using).filter(approval_id__isnull=False)
    parts = [  # the first one gives the columns their types
        _started(jobs.running(), using),
        _part(_TIMED, jobs.timed().order_by("run_at").values("queue"), using, queue="queue"),
        _part(Status.WAITING, waiting.values("kind", "queue"), using, kind="kind", queue="queue"),
        _part(Status.SCHEDULED, scheduled, using, kind="kind"),
        _part(_QUESTIONS, questions.values("pk"), using),
    ]
    for status in (Status.RETRY, Status.SUCCESS, Status.FAILURE, Status.REVOKED):
        parts += [_part(status, of_status(jobs.all(), status).order_by().values("pk"), using)]
    parts += [_ready(jobs.ready().filter(queue=name), using) for name in ready]
    connection = connections[using]
    params = [value for _sql, values in parts for value in values]
    with connection.cursor() as cursor:
        sql = " UNION ALL ".join(sql for sql, _values in parts)
        found = dialect_for(connection).long_query(cursor, sql, params)
    return _open_jobs([_Row(*row) for row in found], using)


class _Row(NamedTuple):
    status: str
    kind: str
    queue: str | None
    number: int
    #: How many of STARTED jobs run.
    running: int
    oldest: Any


def _started(jobs: JobQuerySet, using: str) -> tuple[str, Sequence[Any]]:
    """Return the part of STARTED jobs.

    A worker starts jobs in the order of its claims. So the first of its rows, as many as it has
    slots, are running.
    """
    place = Window(
        RowNumber(), partition_by="worker_id", order_by=["started_at", "rank", "pk"]
    )  # fmt: skip
    rows = jobs.values("queue", "worker_id", "started_at", place=place)[: CAP + 1]
    sql, params = compiled(rows, using)
    counted = (
        f"SELECT '{Status.STARTED.value}' AS status, '' AS kind, claimed.queue AS queue, "  # noqa: S608
        "COUNT(*), COUNT(CASE WHEN claimed.place > worker.slots THEN NULL ELSE 1 END), "
        f"MIN(claimed.started_at) FROM ({sql}) claimed LEFT JOIN {Worker._meta.db_table} worker "
        "ON worker.id = claimed.worker_id GROUP BY claimed.queue"
    )
    return counted, params


def _part(
    name: str, rows: QuerySet[Any], using: str, kind: str = "''", queue: str = "NULL"
) -> tuple[str, Sequence[Any]]:
    sql, params = compiled(rows[: CAP + 1], using)
    columns = ", ".join(column for column in (kind, queue) if column in ("kind", "queue"))
    groups = f" GROUP BY {columns}" if columns else ""
    head = f"SELECT '{name!s}', {kind}, {queue}, COUNT(*), 0, NULL"
    return f"{head} FROM ({sql}) counted{groups}", params


def _ready(jobs: JobQuerySet, using: str) -> tuple[str, Sequence[Any]]:
    """Return the part of one queue's PENDING jobs."""
    ordered = jobs.order_by("rank", "pk")
    sql, params = compiled(ordered.values("queue")[: CAP + 1], using)
    head, head_params = compiled(ordered.values(at=F("ready_at"))[:_OLDEST_AMONG], using)
    counted = (
        f"SELECT '{Status.PENDING.value}', '', queue, COUNT(*), 0, "  # noqa: S608
        f"(SELECT MIN(at) FROM ({head}) head) FROM ({sql}) counted GROUP BY queue"
    )
    return counted, [*head_params, *params]


def _open_jobs(rows: Sequence[_Row], using: str) -> OpenJobs:
    numbers, kinds = Counter[str](), Counter[Kind]()
    by_queue: defaultdict[tuple[str, str], Counted] = defaultdict(Counted)
    running = 0
    for row in rows:
        numbers[row.status] += row.number
        running += row.running
        if row.kind:
            kinds[Kind(row.kind)] += row.number
        if row.queue is not None:
            counted = by_queue[row.status, row.queue]
            counted.number += row.number
            counted.running += row.running
            counted.oldest = _moment(row.oldest, using)
    return OpenJobs(
        {status: CappedCount(numbers[status]) for status in Status},
        by_queue, CappedCount(running), CappedCount(numbers[_QUESTIONS]), kinds,
    )  # fmt: skip


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
