"""Replaces a connection that the server has closed, before the next statement.

Django replaces it between two requests. A script, a consumer or a server of another kind has no
requests: there each statement after the cut would fail, for ever.
"""

from __future__ import annotations

import select
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ..define.routing import databases
from .descriptor import descriptor_of

#: The key of a connection's ``__dict__`` under which its :class:`Reconnect` is found.
KEPT = "_django_jobs_reconnect"
#: Overridden per connection: Django asks here before each cursor and each transaction.
HOOK = "close_if_health_check_failed"
# Most sessions that are replaced at once, of a server that ends each as soon as it begins.
_MOST = 100
# libpq's PQTRANS_INTRANS and PQTRANS_INERROR.
_IN_TRANSACTION, _IN_FAILED_TRANSACTION = 2, 3


def watch_connections() -> None:
    """Watch every connection to a database that holds jobs, from the moment it is opened."""
    connection_created.connect(_opened, dispatch_uid="django_jobs.reconnect")


def leave_alone(connection: BaseDatabaseWrapper) -> None:
    """Never watch *connection*: its owner replaces it."""
    vars(connection)[KEPT] = None


def _opened(connection: BaseDatabaseWrapper, **_: Any) -> None:
    state = vars(connection)
    if KEPT not in state:
        # A file has no server that could close it.
        watched = connection.vendor != "sqlite" and connection.alias in databases()
        state[KEPT] = Reconnect(connection) if watched else None
    if state[KEPT] is not None:
        state[KEPT].opened()


class Reconnect:
    """Closes a connection whose session is gone, so that Django opens another one.

    It does so only outside of a transaction and before a statement is sent. So no statement is
    repeated, and no transaction goes on without its first half.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._raw: Any = None
        self._before = getattr(connection, HOOK)
        vars(connection)[HOOK] = self._before_cursor

    def opened(self) -> None:
        self._raw = self._connection.connection

    def _before_cursor(self) -> None:
        self._before()
        connection = self._connection
        if connection.in_atomic_block or not connection.autocommit:
            return
        if connection.connection is not None and in_own_transaction(connection.connection):
            return
        # A pool may hold several sessions that the same restart of the server has ended.
        for _ in range(_MOST):
            if not self._is_suspect():
                return
            if connection.is_usable():
                connection.errors_occurred = False
                return
            connection.close()
            connection.ensure_connection()

    def _is_suspect(self) -> bool:
        connection = self._connection
        raw = connection.connection
        if raw is None or raw is not self._raw:
            return False  # none, or it is being opened
        return connection.errors_occurred or has_news(raw)


def in_own_transaction(raw: Any) -> bool:
    """Tell whether the program's own SQL began a transaction, which Django does not know of.

    Only psycopg knows it; for other drivers the answer is False.
    """
    status = getattr(getattr(raw, "pgconn", None), "transaction_status", None)
    return status in (_IN_TRANSACTION, _IN_FAILED_TRANSACTION)


def has_news(raw: Any) -> bool:
    """Tell whether the socket of a driver's connection can be read: most likely it is closed."""
    make = getattr(select, "poll", None)
    if make is None:  # Windows, and programs that eventlet has patched
        return False
    try:
        poll = make()
        poll.register(descriptor_of(raw), select.POLLIN)
        return bool(poll.poll(0))
    except AttributeError:  # a driver that does not show its socket
        return False
    except Exception:  # whatever a driver raises once it is closed
        return True
