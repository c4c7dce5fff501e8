"""Waits for SQLite's locks in a process whose greenlets share one thread.

SQLite waits for a lock in C. The greenlet that has the lock could not go on meanwhile, and each
wait would end with "database is locked".
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_SHORTEST, _LONGEST = 0.001, 0.02
# sqlite3's default, in seconds.
_TIMEOUT = 5.0


def begin() -> None:
    """Let each connection to SQLite that is opened from now on sleep while another has the lock."""
    connection_created.connect(_opened, dispatch_uid="django_jobs.sqlite_waits")


def _opened(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor != "sqlite":
        return
    raw: Any = connection.connection
    raw.execute("PRAGMA busy_timeout = 0")
    if "_django_jobs_waits" not in vars(connection):
        seconds = connection.settings_dict["OPTIONS"].get("timeout", _TIMEOUT)
        vars(connection)["_django_jobs_waits"] = True
        connection.execute_wrappers.append(partial(_execute, seconds))


def _execute(
    seconds: float, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
) -> Any:
    deadline, pause = time.monotonic() + seconds, _SHORTEST
    while True:
        try:
            return execute(sql, params, many, context)
        except OperationalError as error:
            if not _has_to_wait(error) or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(_LONGEST, 2 * pause)


def _has_to_wait(error: OperationalError) -> bool:
    # Other codes, as of a snapshot that is too old for a write, stay what they are.
    return getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
