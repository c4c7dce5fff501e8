"""The database connections of the thread that runs jobs, between two jobs."""

from __future__ import annotations

import contextlib
import logging
import time

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

_log = logging.getLogger("django_jobs.worker")

# A connection that lay idle for longer is tried before the next job gets it.
IDLE_SECONDS = 5.0


def close_open_transactions() -> bool:
    """Close connections that a job left inside a transaction, or broken; tell whether any was."""
    left_open = False
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            connection.in_atomic_block = False
            continue
        if connection.in_atomic_block or not connection.get_autocommit():
            left_open = True
            _log.error("a job left a transaction open on database %r", connection.alias)
            _force_close(connection)
        elif connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()
    return left_open


class ConnectionCheck:
    """Closes connections of this thread that died while it waited for its next job."""

    def __init__(self) -> None:
        self._used = time.monotonic()

    def before_job(self, distrusted_at: float) -> None:
        """Try the connections after a long idle time, or when the database was away since."""
        if time.monotonic() - self._used < IDLE_SECONDS and distrusted_at < self._used:
            return
        for connection in connections.all(initialized_only=True):
            with contextlib.suppress(DatabaseError, InterfaceError):
                if connection.connection is not None and not connection.is_usable():
                    connection.close()

    def after_job(self) -> None:
        self._used = time.monotonic()


def _force_close(connection: BaseDatabaseWrapper) -> None:
    # Inside an atomic block close() waits for its end, which will not come.
    connection.in_atomic_block = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.needs_rollback = False
    connection.run_on_commit = []
    connection.closed_in_transaction = False
    with contextlib.suppress(DatabaseError, InterfaceError):
        connection.close()
