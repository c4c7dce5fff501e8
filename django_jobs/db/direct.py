"""Inserts one job past Django's cursors, or an event: two transactions in one round trip.

A call that stands alone wakes a worker before the disk has the job. Its first transaction is the
INSERT with a NOTIFY, and commits asynchronously. The second one writes an empty message and commits
as the session does: the server's log is in order, so its end is on disk only after the first one.

In a loop of calls, the first transaction is the INSERT, and the second one the NOTIFY. That takes
less work. Each commits as the session does, and no NOTIFY makes other enqueues wait for an fsync.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors, generators
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.waiting import Ready, Wait

from .past_cursors import HEARD, leave, prepared_by
from .prepared import UNFIT, Prepared, rows_of

Exchange = Generator[Wait, Ready, Any]
#: A statement and its parameters, as the driver sends them.
Message = tuple[bytes, Sequence[bytes | None] | None]

_LOST = (
    "The connection was lost before the commit was confirmed. What was written may be there; look "
    "for it."
)
_UNSURE = "The job is written, but the server did not confirm that it is on disk. Look for it."
_BEGIN: Message = (b"BEGIN", None)
_END: Message = (b"COMMIT", None)
#: It writes to the server's log: a commit without log waits for nothing. After it, all earlier
#: commits are on disk.
FLUSH = "SELECT pg_logical_emit_message(TRUE, 'django_jobs', '')"
_FLUSH = FLUSH.encode()
# Seconds after the last answer from which a call stands alone.
_ALONE = 0.005
# Databases whose role may not flush so.
_CANNOT_FLUSH: set[str] = set()


class Statements(NamedTuple):
    """The statements of an enqueue besides its INSERT. Each has one parameter."""

    #: It notifies of a topic, as the only statement of a transaction.
    tell: bytes
    #: It notifies of a topic, and lets its transaction commit asynchronously.
    tell_early: bytes
    #: It changes nothing of the row with an id, and writes it once more.
    touch: bytes


def enqueue(
    connection: BaseDatabaseWrapper, insert: Message, topic: bytes, job_id: bytes, use: Statements
) -> None:
    """Insert the job *job_id* and notify of *topic*, in one round trip.

    The job is on disk on return. Raises the error of the INSERT or of its commit; nothing is
    changed then. When the connection is lost, it is unknown whether the job exists, and the error
    says so.
    """
    raw: Any = connection.connection
    kept, prepared = vars(raw), prepared_by(raw)
    is_alone = monotonic() - kept.get(HEARD, 0.0) > _ALONE
    try:
        with raw.lock:
            if not (
                is_alone
                and connection.alias not in _CANNOT_FLUSH
                and _enqueue_early(connection, prepared, insert, topic, job_id, use)
            ):
                # Once the INSERT has committed, nothing is raised.
                messages = (_BEGIN, insert, _END, (use.tell, (topic,)))
                failed = _run_prepared(prepared, messages, needed=3)
                if failed is not None:
                    raise errors.error_from_result(failed.result)
    except psycopg.Error:
        with connection.wrap_database_errors:
            raise
    kept[HEARD] = monotonic()


def _enqueue_early(
    connection: BaseDatabaseWrapper,
    prepared: Prepared,
    insert: Message,
    topic: bytes,
    job_id: bytes,
    use: Statements,
) -> bool:
    """Wake a worker before the disk has the job; return False if nothing was changed.

    The other way then shows whether the INSERT itself is refused, or only the NOTIFY.
    """
    messages = (_BEGIN, insert, (use.tell_early, (topic,)), _END, (_FLUSH, None))
    failed = _run_prepared(prepared, messages, needed=len(messages))
    if failed is None:
        return True
    if failed.position < len(messages) - 1:
        return False
    # The row is committed, and may not be on disk.
    _CANNOT_FLUSH.add(connection.alias)
    failed = _run(prepared.raw, [_BEGIN, (use.touch, (job_id,)), _END], None, needed=3)
    if failed is not None:
        raise psycopg.OperationalError(_UNSURE) from errors.error_from_result(failed.result)
    return True


def in_turn(
    connection: BaseDatabaseWrapper, first: Message, second: Message
) -> tuple[Sequence[Any], Sequence[Any] | None]:
    """Run *first* and commit, then *second* and commit, in one round trip; return a row of each.

    The second one sees what was committed until then. Its row is None when it fails, or when the
    connection is lost meanwhile. Raises the error of the first one; nothing is changed then.
    """
    raw: Any = connection.connection
    results: list[Any] = []
    messages = (_BEGIN, first, _END, second)
    with connection.wrap_database_errors, raw.lock:
        # Once the first one has committed, nothing is raised.
        failed = _run_prepared(prepared_by(raw), messages, 3, results)
        if failed is not None:
            raise errors.error_from_result(failed.result)
        rows = [rows_of(raw, result) for result in (results[1], *results[3:])]
    vars(raw)[HEARD] = monotonic()
    return rows[0][0], rows[1][0] if rows[1:] and rows[1] else None


def _run_prepared(
    prepared: Prepared,
    messages: Sequence[Message],
    needed: int,
    results: list[Any] | None = None,
) -> _Failed | None:
    try:
        names = prepared.names_of([statement for statement, _values in messages])
    except psycopg.Error:
        raise
    except BaseException:
        leave(prepared.raw)
        raise
    failed = _run(prepared.raw, messages, names, needed, results)
    if failed is None or names is None or failed.position > messages.index(_END):
        return failed
    if isinstance(errors.error_from_result(failed.result), UNFIT):
        # DISCARD ALL, DEALLOCATE or a pooler took the prepared statements away, or a migration made
        # them unfit, so nothing was changed.
        prepared.names = None
        if results is not None:
            results.clear()
        failed = _run(prepared.raw, messages, None, needed, results)
    return failed


class _Failed(NamedTuple):
    """The first statement that failed: its position, and what the server answered."""

    position: int
    result: Any


def _run(
    raw: Any,
    messages: Sequence[Message],
    names: Sequence[bytes] | None,
    needed: int,
    results: list[Any] | None = None,
) -> _Failed | None:
    """Run *messages* in one round trip; return which of the *needed* first ones failed.

    *results* gets what the server answered to each.
    """
    pgconn = raw.pgconn
    pgconn.enter_pipeline_mode()
    try:
        if names is None:
            for statement, values in messages:
                pgconn.send_query_params(statement, values)
        else:
            for name, (_statement, values) in zip(names, messages, strict=True):
                pgconn.send_query_prepared(name, values)
        pgconn.pipeline_sync()
        failed: _Failed | None = raw.wait(_exchange(pgconn, needed, results))
        if pgconn.status == ConnStatus.OK:
            pgconn.exit_pipeline_mode()
    except BaseException:
        leave(raw)
        raise
    if failed is not None and (
        pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)
    ):
        pgconn.send_query_params(b"ROLLBACK", None)
        raw.wait(generators.execute(pgconn))
    return failed


def _exchange(pgconn: Any, needed: int, results: list[Any] | None) -> Exchange:
    """Send what :func:`_run` has put in; return what it returns."""
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    failed: _Failed | None = None
    done = 0
    try:
        while True:
            while pgconn.is_busy():
                if (yield Wait.R):
                    pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                if pgconn.status != ConnStatus.OK:
                    raise psycopg.OperationalError(_LOST)
                continue
            status = result.status
            if status == ExecStatus.PIPELINE_SYNC:
                break
            if status == ExecStatus.FATAL_ERROR and failed is None and done < needed:
                failed = _Failed(done, result)
            done += 1
            if results is not None:
                results.append(result)
    except psycopg.OperationalError:
        # A result of before the loss says more, and a commit stays.
        if failed is None and done < needed:
            raise
    return failed
