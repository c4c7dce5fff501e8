"""Runs statements past Django's cursors, in a session that a job or a request uses.

Django makes a cursor and psycopg a query for each statement; together they take longer than what
most statements of this package do. Here the parameters go to the server apart from the statement,
which the server parses and plans once for a session.
"""

from __future__ import annotations

import functools
import threading
from asyncio import _get_running_loop
from collections.abc import Hashable, Sequence
from time import monotonic
from types import FunctionType
from typing import Any

import psycopg
from django.conf import settings
from django.db.backends import utils
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql import base
from psycopg.pq import PipelineStatus, TransactionStatus

from .driver_sessions import unwatched
from .prepared import Prepared, rows_of, texts
from .session import INTERRUPTED, SESSION, Session

#: A session prepares its statements when so many have run without.
UNPREPARED = 5
# Seconds after which a session plans its statements anew.
_PLANS_LAST = 30.0
# The key of a session's ``__dict__`` under which its :class:`Prepared` is found.
_KEPT = "_django_jobs_prepared"
#: The key of a session's ``__dict__`` under which it has when the server answered last.
HEARD = "_django_jobs_heard"
# Seconds for which a session that has answered counts as open. The look at its socket costs a loop
# of calls a tenth of its time.
_SURELY_OPEN = 0.001

_own = object.__getattribute__
_IDLE, _OFF = TransactionStatus.IDLE, PipelineStatus.OFF
_CURSORS: set[Any] = {base.Cursor, base.ServerBindingCursor}
# These methods make a cursor of Django's. A class that overrides one wants to see the statements.
_METHODS = ("cursor", "_cursor", "_prepare_cursor", "create_cursor", "make_cursor")


def is_open_to(connection: BaseDatabaseWrapper) -> bool:
    """Return whether statements may go past Django's cursors on *connection*.

    They may not while anybody watches them: the log of queries, an execute wrapper, a subclass of
    a cursor or of the database's backend, a tracer that has patched them. A :class:`Session` of a
    job may watch: these statements change no session. Nor may they in a transaction, in another
    encoding than UTF-8, and with a libpq that has no pipelines.
    """
    try:
        # The settings keep what was read of them; their own access takes longer than all checks.
        debugs = _own(settings, "DEBUG")
    except AttributeError:
        debugs = settings.DEBUG
    session: Session | None = vars(connection).get(SESSION)
    wrappers = connection.execute_wrappers
    if wrappers and (session is None or wrappers != [session._execute]):
        return False
    if connection.force_debug_cursor or debugs:
        return False
    if "cursor" in vars(connection):
        return False
    raw: Any = connection.connection
    if session is not None or raw is None or monotonic() - vars(raw).get(HEARD, 0.0) > _SURELY_OPEN:
        # cursor() does this first.
        connection.close_if_health_check_failed()
        raw = connection.connection
    if raw is None or _get_running_loop() is not None:
        connection.ensure_connection()
        raw = connection.connection
    if vars(connection)["_thread_ident"] != threading.get_ident():
        connection.validate_thread_sharing()
    cursors = raw.cursor_factory if session is None else unwatched(raw.cursor_factory)
    if not (raw.__class__ is psycopg.Connection and cursors in _CURSORS):
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


def change(connection: BaseDatabaseWrapper, statement: bytes, values: Sequence[Any]) -> int:
    """Run *statement* as a transaction, in one round trip; return how many rows it changed.

    It is on disk on return. When the connection is lost, it is unknown whether it was committed.
    """
    return _run(connection, statement, values).command_tuples or 0


def rows(
    connection: BaseDatabaseWrapper, statement: bytes, values: Sequence[Any]
) -> list[tuple[Any, ...]]:
    """Run *statement* in one round trip; return its rows as the driver reads them for Django."""
    return rows_of(connection.connection, _run(connection, statement, values))


def _run(connection: BaseDatabaseWrapper, statement: bytes, values: Sequence[Any]) -> Any:
    raw: Any = connection.connection
    parameters = texts(values)
    with connection.wrap_database_errors, raw.lock:
        try:
            return prepared_by(raw).run(statement, parameters)
        except psycopg.Error:
            raise
        except BaseException:
            leave(raw)
            raise


def prepared_by(raw: Any) -> Prepared:
    kept = vars(raw)
    prepared: Prepared | None = kept.get(_KEPT)
    if prepared is None:
        prepared = kept[_KEPT] = Prepared(raw, after=UNPREPARED, lasts=_PLANS_LAST)
    return prepared


def leave(raw: Any) -> None:
    """Close a session in which answers may come that nobody waits for; another one is opened."""
    raw.close()
    session: Session | None = vars(raw).get(SESSION)
    if session is not None:
        session.mark = INTERRUPTED
