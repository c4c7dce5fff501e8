"""What differs between the databases, and nothing else."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from .base import Dialect, clock, own_connection, unix_time, without_deadlock
from .errors import Kind, is_away, kind_of, refusing_database
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

__all__ = [
    "Dialect",
    "Kind",
    "UnsupportedDatabase",
    "clock",
    "dialect_for",
    "is_away",
    "kind_of",
    "own_connection",
    "refusing_database",
    "unix_time",
    "without_deadlock",
]

_DIALECTS: dict[str, type[Dialect]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "sqlite": SQLite,
}


class UnsupportedDatabase(Exception):
    """The database of the jobs is none of PostgreSQL, MariaDB, MySQL and SQLite."""


def dialect_for(connection: BaseDatabaseWrapper) -> Dialect:
    """Return the dialect that speaks over *connection*; it is made once per connection."""
    dialect: Dialect | None = getattr(connection, "_django_jobs_dialect", None)
    if dialect is None:
        try:
            dialect = _DIALECTS[connection.vendor](connection)
        except KeyError:
            raise UnsupportedDatabase(
                f"Jobs cannot live in a {connection.vendor!r} database. "
                f"Use one of {', '.join(_DIALECTS)}."
            ) from None
        connection._django_jobs_dialect = dialect  # type: ignore[attr-defined]
    return dialect
