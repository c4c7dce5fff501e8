"""Inserts one job past Django's cursors: two transactions in one round trip of psycopg.

Django makes a cursor and psycopg a query for each statement; together they take longer than the
INSERT itself. Here the parameters go to the server apart from the statement, which the server
parses once for a session. The first transaction is the INSERT. The second one wakes the workers: a
NOTIFY inside the first would make every enqueue in the database wait for this one's fsync.
"""

from __future__ import annotations

import functools
import threading
from asyncio import _get_running_loop
from collections.abc import Generator, Hashable, Sequence
from time import monotonic
from types import FunctionType
from typing import Any

import psycopg
from django.conf import settings
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

_own = object.__getattribute__
_IDLE, _OFF = TransactionStatus.IDLE, PipelineStatus.OFF
_CURSORS: set[Any] = {base.Cursor, base.ServerBindingCursor}
# These methods make a cursor of Django's. A class that overrides one wants to see the statements.
_METHODS = ("cursor", "_cursor", "_prepare_cursor", "create_cursor", "make_cursor")

Exchange = Generator[Wait, Ready, Any]
#: A statement and its parameters, as the driver sends them.
Message = tuple[bytes, Sequence[bytes] | None]

# The key of a session's ``__dict__`` under which it has when the server answered last.
_HEARD = "_django_jobs_heard"
# Seconds for which a session that has answered counts as open. The look at its socket costs a loop
# of calls a tenth of its time.
_SURELY_OPEN = 0.001
_LOST = "The connection was lost before the commit was confirmed. The job may exist; look for it."
# BEGIN, the change and COMMIT.
_STEPS = 3


def is_open_to(connection: BaseDatabaseWrapper) -> bool:
    """Return whether statements may go past Django's cursors on *connection*.

    They may not while anybody watches them: the log of queries, an execute wrapper, a subclass of
    a cursor or of the database's backend, a tracer that has patched them. Nor may they in a
    transaction, in another encoding than UTF-8, and with a libpq that has no pipelines.
    """
    try:
        # The settings keep what was read of them; their own access takes longer than all checks.
        debugs = _own(settings, "DEBUG")
    except AttributeError:
        debugs = settings.DEBUG
    if connection.execute_wrappers or connection.force_debug_cursor or debugs:
        return False
    if "cursor" in vars(connection):
        return False
    raw: Any = connection.connection
    if raw is None or monotonic() - vars(raw).get(_HEARD, 0.0) > _SURELY_OPEN:
        # cursor() does this first.
        connection.close_if_health_check_failed()
        raw = connection.connection
    if raw is None or _get_running_loop() is not None:
        connection.ensure_connection()
        raw = connection.connection
    if vars(connection)["_thread_ident"] != threading.get_ident():
        connection.validate_thread_sharing()
    if not (raw.__class__ is psycopg.Connection and raw.cursor_factory in _CURSORS):
        return False
    pgconn = raw.pgconn
    kind: Any = type(connection)
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


@functools.lru_cache(1)
def _is_untouched(method: Any) -> bool:
    return type(method) is FunctionType and method.__globals__ is vars(utils)


def commit_and_tell(connection: BaseDatabaseWrapper, change: Message, tell: Message) -> None:
    """Commit the statement *change*, then run *tell*, in one round trip.

    Raises the error of *change* or of its commit; nothing is changed then. Once it has committed,
    nothing is raised.
    """
    raw: Any = connection.connection
    prepared = vars(raw).get(_KEPT)
    if prepared is None:
        prepared = vars(raw)[_KEPT] = Prepared(raw, after=UNPREPARED)
    statements = (b"BEGIN", change[0], b"COMMIT", tell[0])
    values = (None, change[1], None, tell[1])
    try:
        with raw.lock:
            try:
                _run(raw, statements, values, prepared.names_of(statements))
            except errors.InvalidSqlStatementName:
                if prepared.names is None:
                    raise
                # DISCARD ALL, DEALLOCATE or a pooler took the prepared statements away, so nothing
                # was changed.
                prepared.names = None
                _run(raw, statements, values, None)
    except psycopg.Error:
        with connection.wrap_database_errors:
            raise
    vars(raw)[_HEARD] = monotonic()


def _run(
    raw: Any,
    statements: Sequence[bytes],
    values: Sequence[Sequence[bytes] | None],
    names: Sequence[bytes] | None,
) -> None:
    pgconn = raw.pgconn
    pgconn.enter_pipeline_mode()
    try:
        send = pgconn.send_query_params if names is None else pgconn.send_query_prepared
        for text, parameters in zip(names or statements, values, strict=True):
            send(text, parameters)
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
    failed: Any = None
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
            if status == ExecStatus.FATAL_ERROR and failed is None and done < _STEPS:
                failed = result
            done += 1
    except psycopg.OperationalError:
        # A result of before the loss says more, and a commit stays.
        if failed is None and done < _STEPS:
            raise
    return failed
