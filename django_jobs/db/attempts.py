"""The sessions that an attempt at a job uses: they are watched, and fit for others after it."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from .driver_sessions import session_class
from .session import TRANSACTION, Attempt, Session, current, here


def watch_connections() -> None:
    """Watch every connection that a job opens from now on, in whichever thread."""
    connection_created.connect(_opened, dispatch_uid="django_jobs.session")


def unwatch_connections() -> None:
    """Watch no further connections, and those of this thread no longer."""
    connection_created.disconnect(dispatch_uid="django_jobs.session")
    for session in here.sessions:
        session.release()
    here.sessions = ()


def watch_this_thread() -> None:
    """Watch also the connections that this thread has open already."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and _known(connection) is None:
            session_class(connection.vendor)(connection).opened()


def begin_attempt() -> None:
    """Begin an attempt in this context, which until the next one runs nothing else."""
    current.set(Attempt())


def end_attempt() -> str:
    """Make this thread's sessions fit for others; return where a transaction was left open."""
    sessions = here.sessions
    if not sessions:
        return ""
    attempt = current.get()
    for session in sessions:
        if session.user is attempt or session.user is None:
            session.end_use(attempt)
    return attempt.left_open if attempt is not None else ""


def left_elsewhere() -> str:
    """Return where the attempt left a transaction open in a thread that is not its own.

    ``sync_to_async(thread_sensitive=False)`` runs there. The thread's next use ends it.
    """
    attempt = current.get()
    for session in attempt.sessions if attempt else ():
        if session.user is attempt and session.glance() is TRANSACTION:
            return session.connection.alias
    return ""


def transaction_ended_by(using: str) -> str:
    """Return what ended the transaction of atomic() before its time, or ""."""
    if connections[using].closed_in_transaction:
        return "the close() of its connection"
    attempt, session = current.get(), _known(connections[using])
    if attempt is None or session is None:
        return ""
    alias, cause = attempt.ended
    if alias == using:
        return cause
    return "the driver" if session.has_lost_transaction() else ""


def _known(connection: BaseDatabaseWrapper) -> Session | None:
    return connection.__dict__.get("_django_jobs_session")


def _opened(connection: BaseDatabaseWrapper, **_: Any) -> None:
    session = _known(connection)
    if session is None:
        if current.get() is None:
            return
        session = session_class(connection.vendor)(connection)
    session.opened()
