"""Makes rows of calls, and writes them in the caller's transaction."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, NotSupportedError, connections, transaction

from .. import serialization, signals
from ..conf import get_settings
from ..db import dialect_for, own_connection, without_deadlock
from ..db.base import chunks
from ..define.call_options import CallKeywords, check
from ..define.canvas import STORED_LEVELS, callbacks
from ..define.current import running
from ..define.fitting import check_errback
from ..define.routing import database_of, max_pending, misplaced, route
from ..define.row_options import CallOptions, RowOptions, WorkflowOptions
from ..define.sensitive import secrets_of
from ..exceptions import DuplicateKey, QueueFull
from ..ids import uuid7
from ..models import Job
from ..moments import aware, expiry
from ..status import Status
from ..values import NewJob
from .notify import announce, topic_of
from .unique import hold_key, key_of

if TYPE_CHECKING:
    from ..api.job import JobFunction

#: The positional and the keyword arguments of a call.
Pair = tuple[Sequence[Any], Mapping[str, Any]]


def write_calls(
    function: JobFunction[..., Any, Any], rows: Sequence[NewJob], options: CallKeywords
) -> list[tuple[UUID, str]]:
    """Write validated *rows* of one job function, in one transaction for each database.

    Returns the id and the database's alias of each row's job. If a live job has the same unique
    key, it replaces the row, which is not written. Of the call's *options*, ``durable`` and
    ``task_id`` matter here. Raises ``QueueFull`` and ``DuplicateKey``, and then writes nothing.
    """
    by_database: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        by_database.setdefault(database_of(row.queue), []).append(position)
    jobs: dict[int, tuple[UUID, str]] = {}
    for using, positions in by_database.items():
        outside = outside_transaction(using) if options.get("durable") else None
        with outside or contextlib.nullcontext():
            ids = write(
                function,
                [rows[position] for position in positions],
                using,
                caller_named=options.get("task_id") is not None,
            )
        jobs.update((at, (job_id, using)) for at, job_id in zip(positions, ids, strict=True))
    return [jobs[position] for position in range(len(rows))]


def rows_of(
    function: JobFunction[..., Any, Any], calls: Sequence[Pair], options: CallKeywords
) -> list[NewJob]:
    """Return a validated row for each of *calls*; it is not written yet."""
    if options.get("task_id") is not None and len(calls) != 1:
        raise ValueError("task_id names one job. Leave it out of delay_many().")
    if function.options.typing:
        for args, kwargs in calls:
            function.bind(args, kwargs)
    row_from = template(function, options)
    return [row_from(args, kwargs) for args, kwargs in calls]


def template(
    function: JobFunction[..., Any, Any], options: CallKeywords
) -> Callable[[Sequence[Any], Mapping[str, Any]], NewJob]:
    """Resolve the options once; return a function that makes the row of one call."""
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
    """Return the call's eta or its countdown; both are None if the job may run at once."""
    eta, countdown = options.get("eta"), options.get("countdown")
    if eta is not None and countdown is not None:
        raise ValueError("Give countdown or eta, not both.")
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
    call = CallOptions(
        options.get("time_limit"), options.get("soft_time_limit"), options.get("ignore_result")
    )
    errbacks = callbacks(options, "link_error")
    for errback in errbacks:
        check_errback(errback)
    # None: an errback is for the failure of this job.
    pairs = tuple((errback, None) for errback in errbacks)
    if own := RowOptions(call, WorkflowOptions(errbacks=pairs)).stored():
        limit = get_settings().max_payload_bytes
        options_text = serialization.dumps(
            own, where="options", max_bytes=limit, around=STORED_LEVELS
        )
    return headers_text, options_text


def lineage() -> tuple[UUID | None, UUID | None]:
    """Return the ids of the running job's root and of the running job: the new job's parents."""
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
) -> list[UUID]:
    """Write validated *rows* of one job function, in one transaction; return their jobs' ids.

    For a row whose unique key a live job has, that job's id is returned. *caller_named* says that
    the caller chose the id. Raises ``QueueFull`` and ``DuplicateKey``.
    """
    connection = connections[using]
    dialect = dialect_for(connection)
    for queue in {row.queue for row in rows}:
        if why := misplaced(queue, using):
            raise ImproperlyConfigured(why)
        refuse_when_full(queue, sum(row.queue == queue for row in rows), using)
    several = (
        bool(function.options.unique) or caller_named or len(list(dialect.insertable(rows))) > 1
    )
    alone = len(rows) == 1 and not several and connection.get_autocommit()
    if alone and dialect.insert_and_wake(rows[0], topic_of(rows[0])):
        _send_signal(function, rows, using)
        return [rows[0].id]
    rows, ids, changed = without_deadlock(
        using, lambda: _insert(function, rows, using, caller_named, several)
    )
    if rows or changed:
        announce(using, {topic_of(row) for row in [*rows, *changed]})
    if rows:
        _send_signal(function, rows, using)
    return ids


def _insert(
    function: JobFunction[..., Any, Any],
    rows: list[NewJob],
    using: str,
    caller_named: bool,
    several: bool,
) -> tuple[list[NewJob], list[UUID], list[NewJob]]:
    """Insert *rows*, in a transaction if it takes *several* statements.

    Returns the rows that were written, the ids of all jobs, and the rows that live jobs took over.
    """
    dialect = dialect_for(connections[using])
    changed: list[NewJob] = []
    ids = [row.id for row in rows]
    # A single INSERT is a transaction by itself and saves two round trips.
    with transaction.atomic(using) if several else contextlib.nullcontext():
        if function.options.unique:
            rows, ids, changed = hold_key(function, rows, using)
        chosen = [row.id for row in rows] if caller_named else []
        with (
            connections[using].cursor() as cursor,
            named(chosen, using) if chosen else contextlib.nullcontext(),
        ):
            for piece in dialect.insertable(rows):
                dialect.insert(cursor, piece)
    return rows, ids, changed


@contextlib.contextmanager
def named(ids: Sequence[UUID], using: str) -> Iterator[None]:
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


def _send_signal(function: JobFunction[..., Any, Any], rows: Sequence[NewJob], using: str) -> None:
    signals.send(
        signals.job_enqueued,
        function.name,
        hidden=lambda: secrets_of(*rows),
        inside=using,
        job_ids=[row.id for row in rows],
        queue=rows[0].queue,
    )


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
def outside_transaction(using: str) -> Iterator[None]:
    """Write to *using* on a connection of its own, outside the caller's transaction."""
    outer = connections[using]
    if outer.get_autocommit():
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
