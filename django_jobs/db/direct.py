"""Inserts one job past Django's cursors: two transactions in one round trip of psycopg.

Django makes a cursor and psycopg a query for each statement; together they take longer than the
INSERT itself. Here the parameters go to the server apart from the statement, which the server
parses once for a session. The first transaction is the INSERT. The second one wakes the workers: a
NOTIFY inside the first would make every enqueue in the database wait for this one's fsync.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Hashable, Sequence
from types import FunctionType
from typing import Any

import psycopg
from django.db.backends import utils
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql import base
from psycopg import errors, generators
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus
from psycopg.waiting import Ready, Wait

from .prepared import Prepared

#: A session prepares its statements when it has inserted so many jobs without them.
UNPREPARED = 5
# The key of a session's ``__dict__`` under which its :class:`Prepared` is found.
_KEPT = "_django_jobs_prepared"

_IDLE, _OFF = TransactionStatus.IDLE, PipelineStatus.OFF
_CURSORS: set[Any] = {base.Cursor, base.ServerBindingCursor}
# These methods make a cursor of Django's. A class that overrides one wants to see the statements.
_METHODS = ("cursor", "_cursor", "_prepare_cursor", "create_cursor", "make_cursor")

Exchange = Generator[Wait, Ready, Any]
#: A statement and its parameters, as the driver sends them.
Message = tuple[bytes, Sequence[bytes] | None]

_BEGIN: Message = (b"BEGIN", None)
_COMMIT: Message = (b"COMMIT", None)
_LOST = "The connection was lost before the commit was confirmed. The job may exist; look for it."
# BEGIN, the change and COMMIT.
_STEPS = 3


def is_open_to(connection: BaseDatabaseWrapper) -> bool:
    """Return whether statements may go past Django's cursors on *connection*.

    They may not while anybody watches them: the log of queries, an execute wrapper, a subclass of
    a cursor or of the database's backend, a tracer that has patched them. Nor may they in a
    transaction, in another encoding than UTF-8, and with a libpq that has no pipelines.
    """
    if connection.execute_wrappers or connection.queries_logged or "cursor" in vars(connection):
        return False
    # cursor() does this first.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.validate_thread_sharing()
    raw: Any = connection.connection
    kind: Any = type(connection)
    if not (raw.__class__ is psycopg.Connection and raw.cursor_factory in _CURSORS):
        return False
    pgconn = raw.pgconn
    return (
        pgconn.transaction_status == _IDLE
        and pgconn.pipeline_status == _OFF
        and raw.autocommit
        and pgconn.parameter_status(b"client_encoding") == b"UTF8"
        and _is_django(kind)
        and _is_untouched(utils.CursorWrapper.execute)
    )


@functools.cache
def _is_django(kind: Hashable) -> bool:
    """Return whether the cursors of this class of connections are those of Django's own class."""
    return psycopg.capabilities.has_pipeline() and all(
        getattr(kind, name) is getattr(base.DatabaseWrapper, name) for name in _METHODS
    )


def _is_untouched(method: Any) -> bool:
    return type(method) is FunctionType and method.__globals__ is vars(utils)


def commit_and_tell(connection: BaseDatabaseWrapper, change: Message, tell: Message) -> None:
    """Commit the statement *change*, then run *tell*, in one round trip.

    Raises the error of *change* or of its commit; nothing is changed then. Once it has committed,
    nothing is raised.
    """
    raw: Any = connection.connection
    prepared = vars(raw).get(_KEPT) or Prepared(raw, after=UNPREPARED)
    vars(raw)[_KEPT] = prepared
    messages: list[Message] = [_BEGIN, change, _COMMIT, tell]
    with connection.wrap_database_errors, raw.lock:
        try:
            _run(raw, messages, prepared.names_of([sql for sql, _values in messages]))
        except errors.InvalidSqlStatementName:
            if prepared.names is None:
                raise
            # DISCARD ALL, DEALLOCATE or a pooler took the prepared statements away, so nothing was
            # changed.
            prepared.names = None
            _run(raw, messages, None)


def _run(raw: Any, messages: Sequence[Message], names: Sequence[bytes] | None) -> None:
    pgconn = raw.pgconn
    pgconn.enter_pipeline_mode()
    try:
        if names is None:
            for sql, values in messages:
                pgconn.send_query_params(sql, values)
        else:
            for name, (_sql, values) in zip(names, messages, strict=True):
                pgconn.send_query_prepared(name, values)
        pgconn.pipeline_sync()
        failed = raw.wait(_exchange(pgconn))
        if pgconn.status == ConnStatus.OK:
            pgconn.exit_pipeline_mode()
    except BaseException:
        # Answers may come that nobody waits for. Django opens another connection at the next use.
        raw.close()
        raise
    if failed is not None:
        if pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            pgconn.send_query_params(b"ROLLBACK", None)
            raw.wait(generators.execute(pgconn))
        raise errors.error_from_result(failed)


def _exchange(pgconn: Any) -> Exchange:
    """Send the messages of :func:`commit_and_tell`; return the result that stopped the commit."""
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    results: list[Any] = []
    try:
        while True:
            while pgconn.is_busy():
                if (yield Wait.R):
                    pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                if pgconn.status != ConnStatus.OK:
                    raise psycopg.OperationalError(_LOST)
            elif result.status == ExecStatus.PIPELINE_SYNC:
                break
            else:
                results.append(result)
    except psycopg.OperationalError:
        # A result of before the loss says more, and a commit stays.
        if all(each.status == ExecStatus.COMMAND_OK for each in results[:_STEPS]) and (
            len(results) < _STEPS
        ):
            raise
    return next((each for each in results[:_STEPS] if each.status == ExecStatus.FATAL_ERROR), None)
