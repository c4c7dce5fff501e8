"""Finds the dialect of a connection, and makes connections and expressions with it."""

from __future__ import annotations

import copy

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField
from django.db.models.expressions import RawSQL
from django.utils.connection import ConnectionProxy

from . import reconnect
from .base import Dialect
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

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
        if isinstance(connection, ConnectionProxy):
            # Such as django.db.connection: it stands for another connection in each thread.
            connection = connections[connection.alias]
        try:
            dialect = _DIALECTS[connection.vendor](connection)
        except KeyError:
            raise UnsupportedDatabase(
                f"Jobs cannot live in a {connection.vendor!r} database. "
                f"Use one of {', '.join(_DIALECTS)}."
            ) from None
        connection._django_jobs_dialect = dialect  # type: ignore[attr-defined]
    return dialect


def own_connection(alias: str) -> BaseDatabaseWrapper:
    """Give this thread a new connection to *alias*, tuned for a worker's bookkeeping; return it.

    From here on ``connections[alias]`` is that connection in this thread, and in no other: no job
    shares it, and neither does a pool.
    """
    own = connections.create_connection(alias)
    reconnect.leave_alone(own)
    own.settings_dict = copy.deepcopy(connections[alias].settings_dict)
    dialect_for(own).tune(own.settings_dict)
    own.settings_dict["AUTOCOMMIT"] = True
    initialize = own.init_connection_state

    def initialize_and_prepare() -> None:
        initialize()
        dialect_for(own).prepare()

    vars(own)["init_connection_state"] = initialize_and_prepare
    connections[alias] = own
    return own


def unix_time(alias: str) -> float:
    """Return the database's clock as seconds since 1970, UTC; it is asked."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {dialect_for(connections[alias]).unix_time}")
        return float(cursor.fetchone()[0])


def clock(alias: str, seconds: float = 0) -> RawSQL:
    """Return an expression of the database's clock, plus *seconds*, for queries on *alias*."""
    return RawSQL(dialect_for(connections[alias]).after(seconds), [], output_field=DateTimeField())
