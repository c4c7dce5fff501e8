"""All differences between PostgreSQL, MariaDB, MySQL and SQLite."""

from __future__ import annotations

from .base import Dialect
from .conflicts import without_deadlock
from .errors import Kind, is_away, kind_of, refusing_database
from .lookup import UnsupportedDatabase, clock, dialect_for, own_connection, unix_time

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
