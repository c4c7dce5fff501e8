"""Writes the rows of calls and workflows, in the caller's transaction."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, NotSupportedError, connections, transaction

from .. import log, signals
from ..conf import get_settings
from ..db import dialect_for, own_connection, without_deadlock
from ..db.alike import AlikeJobs
from ..db.chunks import chunks
from ..define import instrumentation
from ..define.routing import database_of, max_pending, misplaced
from ..define.sensitive import secrets_of
from ..exceptions import DuplicateKey, QueueFull
from ..models import Job
from ..status import Status
from ..values import NewEdge, NewJob
from .instrumented import NO_CAUSE, instrumented
from .notify import announce, topic_of, topic_of_one
from .unique import hold_keys


def write_alone(row: NewJob, *, limited: bool = True) -> str:
    """Write the validated row of one call by one statement; return its database's alias.

    Returns "" without having done anything if that takes more: a unique key, an open transaction,
    another statement that wakes the workers. Raises ``QueueFull``.
    """
    settings = get_settings()
    using = database_of(row.queue) if settings.queues else settings.database
    connection = connections[using]
    if row.unique_key or connection.in_atomic_block:
        return ""
    dialect = dialect_for(connection)
    if not dialect.wakes_with_insert:
        return ""
    if limited and settings.queues:
        refuse_when_full(row.queue, 1, using)
    if not dialect.insert_and_wake(row, topic_of_one(row)):
        return ""
    if signals.job_enqueued.receivers:
        _send_signals([row], using)
    return using


def write_alike(jobs: AlikeJobs) -> str:
    """Write the validated *jobs* in one transaction; return their database's alias.

    They have no unique keys. Raises ``QueueFull``.
    """
    using = database_of(jobs.first.queue)
    refuse_when_full(jobs.first.queue, len(jobs.ids), using)
    connection = connections[using]
    inserts = dialect_for(connection).inserts_of(jobs)

    def insert() -> None:
        together = transaction.atomic(using) if len(inserts) > 1 else contextlib.nullcontext()
        with together, connection.cursor() as cursor:
            for each in inserts:
                each(cursor)

    without_deadlock(using, insert)
    announce(using, {topic_of(jobs.first)})
    if signals.job_enqueued.receivers:
        _send_signals(jobs.rows(), using)
    return using


def write_calls(
    rows: Sequence[NewJob], *, named: bool = False, durable: bool = False
) -> list[tuple[UUID, str]]:
    """Write validated *rows* of single calls, in one transaction for each database.

    Returns the id and the database's alias of each row's job. *named* says that the caller chose
    the ids, *durable* that the jobs stay when the caller's transaction rolls back. Raises what
    :func:`write` does.
    """
    queues: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        queues.setdefault(row.queue, []).append(position)
    by_database: dict[str, list[int]] = {}
    for queue, positions in queues.items():
        by_database.setdefault(database_of(queue), []).extend(positions)
    jobs: dict[int, tuple[UUID, str]] = {}
    for using, positions in by_database.items():
        positions.sort()
        there = [rows[position] for position in positions]
        with transaction_of(using, durable=durable):
            ids = write(there, using, named=[row.id for row in there] if named else ())
        jobs.update((at, (job_id, using)) for at, job_id in zip(positions, ids, strict=True))
    return [jobs[position] for position in range(len(rows))]


def write(
    rows: Sequence[NewJob],
    using: str,
    edges: Sequence[NewEdge] | None = None,
    *,
    named: Collection[UUID] = (),
    limited: bool = True,
    cause: Mapping[str, Any] = NO_CAUSE,
) -> list[UUID]:
    """Write validated *rows* in one transaction, and wake the workers; return their jobs' ids.

    *cause* are the headers of the job whose end enqueues them. The others are those of
    :func:`write_sent`, which raises the same.
    """
    if not instrumentation.instrumentations or not rows:
        return write_sent(rows, using, edges, named=named, limited=limited)
    with instrumented(rows, cause) as jobs:
        ids = write_sent(jobs.rows, using, edges, named=named, limited=limited)
        jobs.written = [row for row, known in zip(rows, ids, strict=True) if row.id == known]
    return ids


def write_sent(
    rows: Sequence[NewJob],
    using: str,
    edges: Sequence[NewEdge] | None = None,
    *,
    named: Collection[UUID] = (),
    limited: bool = True,
) -> list[UUID]:
    """Write *rows* that the instrumentation has seen.

    *edges* are those of a workflow; None says that the rows are single calls. For a call whose
    unique key a live job has, that job's id is returned. *named* are ids that the caller chose.
    Without *limited* a full queue takes the rows, too. Raises ``QueueFull`` and ``DuplicateKey``,
    the latter also for a row of a workflow whose unique key a live job has.
    """
    _check_queues(rows, using, limited)
    if len(rows) == 1 and not edges and not named and write_alone(rows[0], limited=False):
        return [rows[0].id]
    keyed = any(row.unique_key for row in rows)
    pieces = list(dialect_for(connections[using]).insertable(rows))
    several = bool(edges or named) or keyed or len(pieces) > 1

    def insert() -> tuple[Sequence[NewJob], list[UUID], list[NewJob]]:
        # A single INSERT is a transaction by itself and saves two round trips.
        with transaction.atomic(using) if several else contextlib.nullcontext():
            new, ids, changed = hold_keys(rows, using, in_workflow=edges is not None)
            with refuse_known([row.id for row in new if row.id in named], using):
                _insert(new, edges or (), using, None if keyed else pieces)
        return new, ids, changed

    new, ids, changed = without_deadlock(using, insert)
    topics = {topic_of(row) for row in [*new, *changed] if row.status != Status.WAITING}
    if topics:
        announce(using, topics)
    _send_signals(new, using)
    return ids


def _check_queues(rows: Sequence[NewJob], using: str, limited: bool) -> None:
    starting: dict[str, int] = {}
    for row in rows:
        if row.status != Status.WAITING:
            starting[row.queue] = starting.get(row.queue, 0) + 1
    for queue, number in starting.items():
        if why := misplaced(queue, using):
            raise ImproperlyConfigured(why)
        if limited:
            refuse_when_full(queue, number, using)


def _insert(
    rows: Sequence[NewJob],
    edges: Sequence[NewEdge],
    using: str,
    pieces: Sequence[Sequence[NewJob]] | None,
) -> None:
    connection = connections[using]
    dialect = dialect_for(connection)
    with connection.cursor() as cursor:
        for piece in dialect.insertable(rows) if pieces is None else pieces:
            dialect.insert(cursor, piece)
        for start in range(0, len(edges), dialect.insert_chunk):
            dialect.insert_edges(cursor, edges[start : start + dialect.insert_chunk])


@contextlib.contextmanager
def refuse_known(ids: Sequence[UUID], using: str) -> Iterator[None]:
    """Raise ``DuplicateKey`` when a job has one of *ids*, which the caller chose."""
    if not ids:
        yield
        return
    problem = f"A job with the id {ids[0]} exists already. Leave task_id out for a new one."
    for chunk in chunks(ids):
        if Job.objects.using(using).filter(id__in=chunk).exists():
            raise DuplicateKey(problem)
    try:
        yield
    except IntegrityError as error:
        # Another caller wrote it after the query.
        raise DuplicateKey(problem) from error


def _send_signals(rows: Sequence[NewJob], using: str) -> None:
    """Send one signal for each job function and queue."""
    if not signals.job_enqueued.receivers:
        return
    alike: dict[tuple[str, str], list[NewJob]] = {}
    for row in rows:
        alike.setdefault((row.name, row.queue), []).append(row)
    for (name, queue), several in alike.items():
        signals.send(
            signals.job_enqueued,
            name,
            hidden=lambda: secrets_of(*rows),
            about=functools.partial(_attributes, several),
            inside=using,
            job_ids=[row.id for row in several],
            queue=queue,
        )


def _attributes(rows: Sequence[NewJob]) -> dict[str, Any]:
    """Return what a record of the log says of these jobs of one function and queue."""
    job_id = rows[0].id if len(rows) == 1 else "-"
    return log.about(job_id, rows[0].name, queue=rows[0].queue, attempt=0)


def refuse_when_full(queue: str, more: int, using: str) -> None:
    """Raise ``QueueFull`` when *more* pending jobs would exceed the queue's ``MAX_PENDING``."""
    limit = max_pending(queue)
    if limit is None:
        return
    ready = Job.objects.using(using).filter(queue=queue, status=Status.PENDING)
    pending = ready.values("id")[:limit].count()
    if pending + more > limit:
        raise QueueFull(
            f"Queue {queue!r} holds {pending} pending jobs and may hold {limit} (MAX_PENDING); "
            f"{more} more were refused. Enqueue them later."
        )


@contextlib.contextmanager
def transaction_of(using: str, *, durable: bool) -> Iterator[None]:
    """Write to *using* in the caller's transaction; *durable* writes outside of it."""
    outer = connections[using]
    if not durable or outer.get_autocommit():
        yield
        return
    if outer.vendor == "sqlite":
        raise NotSupportedError(
            "durable=True inside a transaction needs a second writer, and SQLite has one. "
            "Enqueue before or after the transaction."
        )
    inner = own_connection(using)
    try:
        yield
    finally:
        connections[using] = outer
        inner.close()
