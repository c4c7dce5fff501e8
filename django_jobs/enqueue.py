"""A call becomes a row, in the caller's transaction."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, NotSupportedError, connections, transaction

from . import serialization, signals
from .call import CallKeywords, check
from .canvas import STORED_LEVELS, callbacks
from .conf import get_settings
from .context import running
from .dialects import dialect_for, own_connection, without_deadlock
from .dialects.base import chunks
from .exceptions import DuplicateKey, QueueFull
from .ids import uuid7
from .models import Job
from .moments import aware, expiry
from .result import AsyncResult, awaited_commit
from .routing import database_of, max_pending, misplaced, route
from .rules import secrets_of
from .status import Status
from .unique import hold_key, key_of
from .values import NewJob

if TYPE_CHECKING:
    from .define import JobFunction

#: What a worker hears when rows were written that run later.
TIMED_TOPIC = "@"

Pair = tuple[Sequence[Any], Mapping[str, Any]]


def enqueue_one(
    function: JobFunction[..., Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: CallKeywords,
) -> AsyncResult[Any]:
    """Enqueue one call of *function*; the errors are those of :func:`enqueue`."""
    return enqueue(function, [(args, kwargs)], options)[0]


def enqueue(
    function: JobFunction[..., Any, Any], calls: Sequence[Pair], options: CallKeywords
) -> list[AsyncResult[Any]]:
    """Write a row for each of *calls*, all with the same *options*, in one transaction.

    Queues that live on several databases make one transaction for each of these.

    Raises ``TypeError`` for arguments that do not fit the signature, ``ArgumentError`` for ones
    that are no JSON, ``ValueError`` for an impossible option, ``QueueFull`` and ``DuplicateKey``;
    nothing was written then.
    """
    if options.get("link"):
        from .workflow import enqueue_linked  # it stands on this module

        return enqueue_linked(function, calls, options)
    rows = rows_of(function, calls, options)
    if get_settings().eager:
        from .eager import run  # executing is not needed to enqueue

        return [run(row) for row in rows]
    by_database: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        by_database.setdefault(database_of(row.queue), []).append(position)
    results: dict[int, AsyncResult[Any]] = {}
    for using, positions in by_database.items():
        outside = outside_transaction(using) if options.get("durable") else None
        with outside or contextlib.nullcontext():
            written = write(
                function,
                [rows[position] for position in positions],
                using,
                caller_named=options.get("task_id") is not None,
            )
        results.update(zip(positions, written, strict=True))
    return [results[position] for position in range(len(rows))]


def rows_of(
    function: JobFunction[..., Any, Any], calls: Sequence[Pair], options: CallKeywords
) -> list[NewJob]:
    """Return the row of each of *calls*, validated, and written nowhere yet."""
    if options.get("task_id") is not None and len(calls) != 1:
        raise ValueError("task_id names one job; leave it out of delay_many()")
    if function.options.typing:
        for args, kwargs in calls:
            function.bind(args, kwargs)
    row_from = template(function, options)
    return [row_from(args, kwargs) for args, kwargs in calls]


def template(
    function: JobFunction[..., Any, Any], options: CallKeywords
) -> Callable[[Sequence[Any], Mapping[str, Any]], NewJob]:
    """Resolve the options once; return what makes a row of one call's arguments."""
    defaults, settings = function.options, get_settings()
    check(options)
    eta, countdown = _when(options)
    later = eta is not None or countdown is not None
    expires_at, expires_in = expiry(options.get("expires", defaults.expires))
    headers_text, options_text = _texts(options)
    root_id, parent_id = lineage()
    task_id = options.get("task_id")
    given_id = UUID(str(task_id)) if task_id else None
    queue, priority = options.get("queue"), options.get("priority")

    def row(args: Sequence[Any], kwargs: Mapping[str, Any]) -> NewJob:
        args_text, kwargs_text = serialization.dumps_arguments(
            args, kwargs, max_bytes=settings.max_payload_bytes
        )
        routed = route(function.name, args, kwargs) if queue is None or priority is None else {}
        if routed:
            check(routed)
        rank = priority if priority is not None else routed.get("priority", defaults.priority)
        return NewJob(
            given_id or uuid7(),
            function.name,
            queue or routed.get("queue") or defaults.queue or settings.default_queue,
            -rank,
            Status.SCHEDULED.value if later else Status.PENDING.value,
            args_text,
            kwargs_text,
            headers_text,
            options_text,
            eta,
            countdown,
            expires_at,
            expires_in,
            root_id,
            parent_id,
            key_of(function, args, kwargs) if defaults.unique else None,
        )

    return row


def _when(options: CallKeywords) -> tuple[datetime.datetime | None, float | None]:
    """Return the call's eta or its countdown; both are None for a call that may run at once."""
    eta, countdown = options.get("eta"), options.get("countdown")
    if eta is not None and countdown is not None:
        raise ValueError("give countdown or eta, not both")
    if eta is not None:
        return aware(eta, "eta"), None
    return None, countdown if countdown is not None and countdown > 0 else None


def _texts(options: CallKeywords) -> tuple[str | None, str | None]:
    """Return the call's headers and its own options as JSON texts, or None for none."""
    headers = options.get("headers")
    headers_text = options_text = None
    if headers:
        limit = get_settings().max_payload_bytes
        headers_text = serialization.dumps(dict(headers), where="headers", max_bytes=limit)
    names = ("time_limit", "soft_time_limit", "ignore_result")
    own = {name: options.get(name) for name in names if options.get(name) is not None}
    errbacks = callbacks(options, "link_error")
    if errbacks:
        # With the job from which on a failure counts: here only the job's own.
        own["link_error"] = [[errback, None] for errback in errbacks]
    if own:
        limit = get_settings().max_payload_bytes
        options_text = serialization.dumps(
            own, where="options", max_bytes=limit, around=STORED_LEVELS
        )
    return headers_text, options_text


def lineage() -> tuple[UUID | None, UUID | None]:
    """Return the ids of the job at the root of those that enqueued, and of the one that does."""
    parent = running.get()
    if parent is None:
        return None, None
    return parent.request.root_uuid or parent.request.uuid, parent.request.uuid


def write(
    function: JobFunction[..., Any, Any],
    rows: list[NewJob],
    using: str,
    *,
    caller_named: bool = False,
) -> list[AsyncResult[Any]]:
    """Write validated *rows* of one job function, in one transaction; return their handles.

    The handle of a row that was left out, as a live job has its unique key, is that job's.
    *caller_named* says that the caller chose the id. Raises ``QueueFull`` and ``DuplicateKey``.
    """
    connection = connections[using]
    dialect = dialect_for(connection)
    results: list[AsyncResult[Any]]
    results = [AsyncResult(row.id, name=row.name, using=using) for row in rows]
    for queue in {row.queue for row in rows}:
        if why := misplaced(queue, using):
            raise ImproperlyConfigured(why)
        refuse_when_full(queue, sum(row.queue == queue for row in rows), using)
    several = (
        bool(function.options.unique) or caller_named or len(list(dialect.insertable(rows))) > 1
    )
    alone = len(rows) == 1 and not several and connection.get_autocommit()
    if alone and dialect.insert_and_wake(rows[0], topic_of(rows[0])):
        _tell(function, rows, using)
        note_children(results)
        return results
    rows, results, changed = without_deadlock(
        using, lambda: _insert(function, rows, results, using, caller_named, several)
    )
    if rows or changed:
        announce(using, {topic_of(row) for row in [*rows, *changed]})
    if rows:
        _tell(function, rows, using)
    if (commit := awaited_commit(using)) is not None:
        written = {row.id for row in rows}
        for result in results:
            result._commit = commit if result.uuid in written else None
    note_children(results)
    return results


def _insert(
    function: JobFunction[..., Any, Any],
    rows: list[NewJob],
    results: list[AsyncResult[Any]],
    using: str,
    caller_named: bool,
    several: bool,
) -> tuple[list[NewJob], list[AsyncResult[Any]], list[NewJob]]:
    """Insert *rows*; return those that were written, all handles, and those that were taken over.

    *several* statements need a transaction.
    """
    dialect = dialect_for(connections[using])
    changed: list[NewJob] = []
    # One INSERT is a transaction by itself; BEGIN and COMMIT would be two more round trips.
    with transaction.atomic(using) if several else contextlib.nullcontext():
        if function.options.unique:
            rows, results, changed = hold_key(function, rows, results, using)
        ids = [row.id for row in rows] if caller_named else []
        with (
            connections[using].cursor() as cursor,
            named(ids, using) if ids else contextlib.nullcontext(),
        ):
            for piece in dialect.insertable(rows):
                dialect.insert(cursor, piece)
    return rows, results, changed


@contextlib.contextmanager
def named(ids: Sequence[UUID], using: str) -> Iterator[None]:
    """Raise ``DuplicateKey`` when a job has one of *ids*, which the caller chose."""
    if not ids:
        yield
        return
    problem = f"a job with the id {ids[0]} exists already"
    for chunk in chunks(ids):
        if Job.objects.using(using).filter(id__in=chunk).exists():
            raise DuplicateKey(problem)
    try:
        yield
    except IntegrityError as error:
        # Another caller wrote it after the look.
        raise DuplicateKey(problem) from error


def topic_of(row: NewJob) -> str:
    """Return what a worker hears of a new row."""
    return row.queue if row.status == Status.PENDING else TIMED_TOPIC


def note_children(results: Sequence[Any]) -> None:
    """Let the job that runs here, if one does, know what it enqueued."""
    parent = running.get()
    if parent is not None:
        parent.request.children.extend(results)


def _tell(function: JobFunction[..., Any, Any], rows: Sequence[NewJob], using: str) -> None:
    signals.send(
        signals.job_enqueued,
        function.name,
        hidden=lambda: secrets_of(*rows),
        inside=using,
        job_ids=[row.id for row in rows],
        queue=rows[0].queue,
    )


def announce(using: str, topics: set[str]) -> None:
    """Wake sleeping workers once the current transaction has committed, at most once for it."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    if not connection.in_atomic_block:
        _notify(using, topics)
        return
    # Every hook has the same set and the first one that runs empties it. A savepoint that rolls
    # back takes its own hook along, and leaves at worst a topic that wakes somebody for nothing.
    pending: set[str] = connection.__dict__.setdefault("_django_jobs_topics", set())
    pending |= topics

    def hook() -> None:
        _notify(using, pending)

    transaction.on_commit(hook, using=using, robust=True)


def _notify(using: str, topics: set[str]) -> None:
    if topics:
        sent = sorted(topics)
        topics.clear()
        dialect_for(connections[using]).notify(sent)


def refuse_when_full(queue: str, more: int, using: str) -> None:
    """Raise ``QueueFull`` when *queue* may not hold so many *more* pending jobs."""
    limit = max_pending(queue)
    if limit is None:
        return
    ready = Job.objects.using(using).filter(queue=queue, status=Status.PENDING)
    pending = ready.values("id")[:limit].count()
    if pending + more > limit:
        raise QueueFull(
            f"queue {queue!r} holds {pending} pending jobs and may hold {limit} (MAX_PENDING); "
            f"{more} more were refused"
        )


@contextlib.contextmanager
def outside_transaction(using: str) -> Iterator[None]:
    """Let what is written to *using* stay when the caller's transaction rolls back."""
    outer = connections[using]
    if outer.get_autocommit():
        yield
        return
    if outer.vendor == "sqlite":
        raise NotSupportedError(
            "durable=True inside a transaction needs a second writer, and SQLite has one; "
            "enqueue before or after the transaction"
        )
    inner = own_connection(using)
    try:
        yield
    finally:
        connections[using] = outer
        inner.close()
