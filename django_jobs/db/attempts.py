"""Watches the sessions that an attempt uses, and makes them fit for the next attempt."""

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
    """Begin an attempt in this context; the context runs only this attempt until the next one."""
    current.set(Attempt())


def end_attempt() -> str:
    """Clean this thread's sessions; return the database with an open transaction, or ""."""
    sessions = here.sessions
    if not sessions:
        return ""
    attempt = current.get()
    for session in sessions:
        if session.user is attempt or session.user is None:
            session.end_use(attempt)
    return attempt.left_open if attempt is not None else ""


def left_elsewhere() -> str:
    """Return the database on which the attempt left a transaction open in another thread, or "".

    ``sync_to_async(thread_sensitive=False)`` uses such threads. The next use of the thread ends it.
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
