"""Checks of the database that holds the jobs: its configuration, and what its server can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core import checks
from django.db import connections
from django.db.utils import DatabaseError

from ..conf import get_settings

_WAL = (
    'OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, '
    '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}'
)


def check_configuration(connection: Any) -> Iterator[checks.CheckMessage]:
    """Check the entry of *connection* in DATABASES, without connecting to its server."""
    options = connection.settings_dict.get("OPTIONS") or {}
    if connection.vendor == "sqlite":
        yield from _transaction_mode(options)
    elif connection.vendor == "postgresql":
        yield from _pool(options)
    elif connection.vendor != "mysql":
        yield checks.Error(
            f"Jobs cannot be stored in {connection.alias!r}, whose engine is {connection.vendor}.",
            hint="Use PostgreSQL, MariaDB, MySQL or SQLite.",
            id="django_jobs.E003",
        )


@checks.register(checks.Tags.database)
def check_database(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Check what the database server is able to do; say nothing when it does not answer."""
    using = get_settings().database
    if not databases or using not in databases or using not in connections:
        return []
    try:
        return list(check_server(connections[using]))
    except DatabaseError:
        return []


def check_server(connection: Any) -> Iterator[checks.CheckMessage]:
    """Check what the server of *connection* is able to do, or the version and mode of SQLite."""
    if connection.vendor == "mysql":
        yield from _mariadb(connection)
    elif connection.vendor == "sqlite":
        yield from _sqlite(connection)


def _mariadb(connection: Any) -> Iterator[checks.CheckMessage]:
    if connection.mysql_is_mariadb and connection.mysql_version < (10, 6):
        version = ".".join(map(str, connection.mysql_version))
        yield checks.Error(
            f"MariaDB {version} has no SKIP LOCKED.",
            hint="Use MariaDB 10.6 or newer.",
            id="django_jobs.E004",
        )


def _sqlite(connection: Any) -> Iterator[checks.CheckMessage]:
    is_old = connection.Database.sqlite_version_info < (3, 35)
    if is_old or not connection.features.supports_json_field:
        lacks = "RETURNING" if is_old else "JSON functions"
        yield checks.Error(
            f"SQLite {connection.Database.sqlite_version} has no {lacks}.",
            hint="Use SQLite 3.35 or newer, built with the JSON functions.",
            id="django_jobs.E005",
        )
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        mode = cursor.fetchone()[0]
    if mode not in ("wal", "memory"):
        yield checks.Warning(
            f"The jobs' SQLite database is in journal mode {mode}, in which readers and workers "
            "lock each other out.",
            hint=f"Set {_WAL}.",
            id="django_jobs.W001",
        )


def _transaction_mode(options: Mapping[str, Any]) -> Iterator[checks.CheckMessage]:
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield checks.Warning(
            "The jobs' SQLite database does not begin its transactions as IMMEDIATE. Beside a "
            'worker, a transaction that reads and then writes fails with "database is locked".',
            hint=f"Set {_WAL}.",
            id="django_jobs.W002",
        )


def _pool(options: Mapping[str, Any]) -> Iterator[checks.CheckMessage]:
    pool = options.get("pool")
    if isinstance(pool, dict) and pool.get("max_size", 4) < 2:
        yield checks.Warning(
            f"The connection pool of the jobs' database holds {pool['max_size']} connection. A "
            "job that needs a second one (durable=True, a thread) would wait for itself.",
            hint="Set OPTIONS['pool']['max_size'] to the worker's slots plus one, at least.",
            id="django_jobs.W003",
        )
