"""Counts of the open jobs, by status and by queue."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from .worker_states import WorkerState

# The name of a count, beside those of the statuses.
_QUESTIONS = "QUESTIONS"
# In a query that is compiled once for all queues; no queue can have this name.
_ANY_QUEUE = "@"
# The oldest job of a queue is the oldest among this many that workers claim next.
_OLDEST_AMONG = 100


@dataclasses.dataclass(slots=True)
class QueueState:
    """A queue that code, settings, workers or rows name. *row* is its own row, if it has one."""

    name: str
    row: Queue | None = None
    ready: CappedCount = dataclasses.field(default_factory=lambda: CappedCount(0))
    running: int = 0
    #: Jobs that workers have claimed ahead and that have not begun.
    claimed: int = 0
    #: SCHEDULED and RETRY jobs, among ten thousand of each of all queues.
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
    #: By status and queue.
    by_queue: Mapping[tuple[str, str], Counted]
    #: STARTED jobs that run; the others are claimed ahead.
    running: CappedCount
    #: Questions that wait for the answers of people.
    questions: CappedCount
    #: For what WAITING and SCHEDULED jobs wait, among ten thousand of each.
    kinds: Mapping[Kind, int]


def queue_states(
    using: str,
    live: Iterable[WorkerState],
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
            state.timed += group.number
    slots = _slots(workers)
    # Most workers that differ name a few queues each: nobody asks them about all the others.
    everywhere = [(worker, number) for worker, number in slots if not worker.queues]
    for state in states.values():
        state.slots = sum(number for one, number in everywhere if one.serves(state.name))
    for worker, number in slots:
        for name in filter(worker.serves, states.keys() & {*map(str, worker.queues)}):
            states[name].slots += number
    return [states[name] for name in sorted(states)]


def _slots(workers: Iterable[WorkerState]) -> list[tuple[WorkerState, int]]:
    """Return one of the workers that serve the same queues, with the slots of all these workers."""
    alike: defaultdict[str, list[WorkerState]] = defaultdict(list)
    for worker in workers:
        alike[f"{worker.pool} {worker.queues} {worker.exclude_queues}"].append(worker)
    return [(group[0], sum(one.slots for one in group)) for group in alike.values()]


def open_jobs(using: str, ready: Iterable[str]) -> OpenJobs:
    """Count the jobs of each status, the open jobs by queue, and questions, all together.

    It reads at most :data:`CAP` + 1 rows of a status, and of PENDING ones so many of each queue.
    """
    jobs: Any = Job.objects.using(using)
    waiting, scheduled = kinds_of_jobs(jobs.all())
    retried = of_status(jobs.all(), Status.RETRY)
    questions = EventWait.objects.using(using).filter(approval_id__isnull=False)
    parts = [  # the first one gives the columns their types
        _started(jobs.running(), using),
        _part(Status.WAITING, waiting.values("kind", "queue"), using, "kind", "queue"),
        _part(Status.SCHEDULED, scheduled.values("kind", "queue"), using, "kind", "queue"),
        _part(Status.RETRY, retried.values("queue"), using, queue="queue"),
        _part(_QUESTIONS, questions.values("pk"), using),
    ]
    for status in (Status.SUCCESS, Status.FAILURE, Status.REVOKED):
        parts += [_part(status, of_status(jobs.all(), status).order_by().values("pk"), using)]
    parts += _ready(ready, using)
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dialect_for(connection).union(cursor, parts)
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


def _ready(queues: Iterable[str], using: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the part of each queue's PENDING jobs."""
    jobs: Any = Job.objects.using(using)
    # Compiled once: the parts differ in the queue only.
    ordered = jobs.ready().filter(queue=_ANY_QUEUE).order_by("rank", "pk")
    rows, values = compiled(ordered.values("rank")[: CAP + 1], using)
    head, head_values = compiled(ordered.values(at=F("ready_at"))[:_OLDEST_AMONG], using)
    sql = (
        f"SELECT '{Status.PENDING.value}', '', %s, COUNT(*), 0, "  # noqa: S608
        f"(SELECT MIN(at) FROM ({head}) head) FROM ({rows}) counted"
    )
    for name in queues:
        params = (_ANY_QUEUE, *head_values, *values)
        yield sql, [name if value == _ANY_QUEUE else value for value in params]


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

    Queues without such a job are left out. It reads at most a hundred rows per queue.
    """
    names = list(queues)
    if not names:
        return {}
    jobs: Any = Job.objects.using(using)
    rows = jobs.ready().filter(queue=_ANY_QUEUE).order_by("rank", "pk").values(at=F("ready_at"))
    # Compiled once: the queries differ in the queue only.
    sql, values = compiled(rows[:_OLDEST_AMONG], using)
    queries = [
        (
            f"SELECT {number}, MIN(at) FROM ({sql}) head",  # noqa: S608
            [name if value == _ANY_QUEUE else value for value in values],
        )
        for number, name in enumerate(names)
    ]
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dialect_for(connection).union(cursor, queries)
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
