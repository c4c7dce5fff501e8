"""The parts of SQL that all statements share: the clock, parameters, conditions, unions."""

from __future__ import annotations

import abc
import datetime
import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ..moments import FIRST_YEAR, LAST_YEAR
from ..values import NEW_TYPES, NewJob
from .tables import NEW_FIELDS, QUEUES, WORKERS

#: Most queries in one UNION ALL. SQLite takes 500.
UNITED = 400

_new_fields = operator.attrgetter(*NEW_FIELDS)
_NEW_IDS, _NEW_TIMES = (
    tuple(at for at, name in enumerate(NEW_FIELDS) if NEW_TYPES[name] is wanted)
    for wanted in (UUID, datetime.datetime)
)


class SQL(abc.ABC):
    """Parts of a database's statements, over one connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    # --- time -----------------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def now(self) -> str:
        """SQL of the database's clock, as the job table's columns keep it."""

    @abc.abstractmethod
    def after(self, seconds: float) -> str:
        """SQL of the database's clock plus *seconds*."""

    @property
    @abc.abstractmethod
    def unix_time(self) -> str:
        """SQL of the database's clock as seconds since 1970, UTC."""

    #: The moment, in UTC, at which :meth:`clock_texts` lets the clock stand. With None it runs.
    stands_at: datetime.datetime | None = None

    @abc.abstractmethod
    def clock_texts(self, moment: datetime.datetime) -> Mapping[str, str]:
        """Return what stands for the clock in the statements, and SQL of *moment* to replace it.

        *moment* is in UTC. For :mod:`django_jobs.testing`, which replaces these texts.
        """

    #: SQL of the first and the last moment that is read as it is: a day beyond the years that a
    #: call may name, which begin and end later in some time zones.
    first_moment: ClassVar[str] = f"'{FIRST_YEAR - 1}-12-31 00:00:00'"
    last_moment: ClassVar[str] = f"'{LAST_YEAR + 1}-01-02 00:00:00'"

    @classmethod
    def readable(cls, sql: str) -> str:
        """SQL of the time *sql*, or of the nearest one that Python and every time zone can tell."""
        first, last = cls.first_moment, cls.last_moment
        return (
            f"CASE WHEN {sql} < {first} THEN {first} WHEN {sql} > {last} THEN {last} ELSE {sql} END"
        )

    # --- parameters and conditions --------------------------------------------------------------

    def quoted(self, names: Sequence[str], prefix: str = "") -> str:
        quote = self.connection.ops.quote_name
        return ", ".join(prefix + quote(name) for name in names)

    def datetime(self, value: datetime.datetime | None) -> Any:
        """Return *value* as this database's parameter."""
        return None if value is None else self.connection.ops.adapt_datetimefield_value(value)

    def uuid(self, value: UUID | None) -> Any:
        """Return *value* as this database's parameter."""
        if value is None or self.connection.features.has_native_uuid_field:
            return value
        return value.hex

    def new_parameters(self, row: NewJob) -> list[Any]:
        """Return the values of :data:`NEW_FIELDS` as this database's parameters."""
        values = list(_new_fields(row))
        for at in _NEW_IDS:
            values[at] = self.uuid(values[at])
        for at in _NEW_TIMES:
            values[at] = self.datetime(values[at])
        return values

    def uuids(self, values: Sequence[UUID]) -> list[Any]:
        return [self.uuid(value) for value in values]

    def claimable(self) -> str:
        """SQL condition, with the worker's id and the queue's name as parameters."""
        return (
            f"EXISTS (SELECT 1 FROM {WORKERS} w WHERE w.id = %s AND w.lost_at IS NULL "
            f"AND w.lease_until > {self.now}) "
            f"AND NOT EXISTS (SELECT 1 FROM {QUEUES} q WHERE q.name = %s "
            "AND q.paused_at IS NOT NULL)"
        )

    # --- queries --------------------------------------------------------------------------------

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def long_query(self, cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> list[Any]:
        """Return the rows of a query that has a long text and does little work."""
        cursor.execute(sql, params)
        return list(cursor.fetchall())

    def joined(self, expression: str) -> str:
        """Return an aggregate: the texts of *expression* with commas between them."""
        return f"GROUP_CONCAT({expression})"

    def exact(self, column: str) -> str:
        """Return an expression that groups the names of *column* by each of their characters."""
        return column

    def uncut(self, query: str) -> str:
        """Return *query*, whose columns have names, so that what is :meth:`joined` may be long."""
        return query

    def union(
        self, cursor: CursorWrapper, queries: Sequence[tuple[str, Sequence[Any]]]
    ) -> list[Any]:
        """Return the rows of *queries*, each SQL and its parameters, with the same columns.

        One statement reads them, or several where there are more than :data:`UNITED`.
        """
        found: list[Any] = []
        for start in range(0, len(queries), UNITED):
            some = queries[start : start + UNITED]
            sql = " UNION ALL ".join([sql for sql, _params in some])
            params = [value for _sql, params in some for value in params]
            found += self.long_query(cursor, sql, params)
        return found

    def recursive(self, query: str, columns: str) -> str:
        """Return SQL that walks *query*, as deep as it goes, and selects *columns*."""
        return f"WITH RECURSIVE {query} SELECT {columns}"
