"""The INSERTs of jobs on PostgreSQL."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import Error
from django.db.backends.utils import CursorWrapper

from ..status import Status
from ..transitions import CLAIM
from ..values import NEW_TYPES, NewJob
from .alike import AlikeJobs
from .chunks import pieces_of
from .postgresql_session import PostgreSQLSession
from .postgresql_text import NOTIFY, NOW, SECOND, SQL_TYPES, array, id_array, numbered, text_array
from .reconnect import in_own_transaction
from .tables import JOBS, NEW_COLUMNS, NEW_FIELDS, SECONDS_OF

_NEW_TYPES = {name: SQL_TYPES[kind] for name, kind in NEW_TYPES.items()}


def _new_values(sql: Callable[[str], str]) -> str:
    """SQL of the values of NEW_COLUMNS; *sql* returns the SQL of a field of NewJob."""
    values = [
        f"COALESCE({sql(name)}, {NOW} + {sql(SECONDS_OF[name])} * {SECOND})"
        if name in SECONDS_OF
        else sql(name)
        for name in NEW_FIELDS
    ]
    ready_at = f"CASE WHEN {sql('status')} = {CLAIM.source} THEN {NOW} END"
    return ", ".join([*values, NOW, ready_at])


class _InsertOne:
    """The INSERT of one job with values for the fields *given*; other columns get their defaults.

    The server parses each column, and most jobs need few. Nothing of a job is in the texts.
    """

    def __init__(self, given: Sequence[str]) -> None:
        values, fields = {}, []
        for name in NEW_FIELDS:
            moments = {name: "%s", SECONDS_OF.get(name, ""): f"{NOW} + %s * {SECOND}"}
            for field, sql in moments.items():
                if field in given:
                    values["run_at" if name == "eta" else name] = _typed(sql, field)
                    fields.append(field)
        times = {"enqueued_at": NOW}
        if "status" not in given:
            times |= {"status": CLAIM.source, "ready_at": NOW}
        values |= times
        #: With the driver's marks, and as the server numbers the parameters.
        self.sql = f"INSERT INTO {JOBS} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
        self.numbered = numbered(self.sql)
        #: Takes a row; returns its parameters.
        self.parameters = operator.attrgetter(*fields)

    def texts(self, row: NewJob) -> list[bytes]:
        """Return the parameters of *row* as the server reads them."""
        if self is _PLAIN:
            return [row.id.hex.encode(), row.name.encode(), row.queue.encode(),
                    b"%d" % row.rank, row.args.encode(), row.kwargs.encode()]  # fmt: skip
        return [str(value).encode() for value in self.parameters(row)]


def _typed(sql: str, field: str) -> str:
    """Return *sql* with a parameter, which has a type where the server cannot tell it."""
    timed = field in SECONDS_OF or field in SECONDS_OF.values()
    return sql.replace("%s", f"%s::{_NEW_TYPES[field]}") if timed else sql


_insert_of = functools.lru_cache(128)(_InsertOne)
# Of a ready job with nothing but its name, its queue and its arguments.
_PLAIN_FIELDS = ("id", "name", "queue", "rank", "args", "kwargs")
_PLAIN = _insert_of(_PLAIN_FIELDS)
_DEFAULTS = tuple(NewJob._field_defaults.values())
_REQUIRED = len(NewJob._fields) - len(_DEFAULTS)


def _insert_one(row: NewJob) -> _InsertOne:
    if row[_REQUIRED:] == _DEFAULTS and row.status == Status.PENDING:
        return _PLAIN
    given = {
        name for name, value in row._asdict().items() if value != NewJob._field_defaults.get(name)
    }
    if row.status == Status.PENDING:
        given.remove("status")
    return _insert_of(tuple(sorted(given)))


# Values that all rows share are sent once, because each array costs parsing for every row.
_INSERT = f"""
INSERT INTO {JOBS} ({", ".join(NEW_COLUMNS)})
SELECT {_new_values(str)}
FROM (SELECT {{same}}) AS same, unnest({{arrays}}) AS new ({{names}})
"""


class Inserts(PostgreSQLSession):
    """Inserts one job past Django's cursors, and many from arrays."""

    insert_chunk = 5_000
    wakes_with_insert = True

    def insert(self, cursor: CursorWrapper, rows: Sequence[NewJob]) -> None:
        if len(rows) == 1:
            insert = _insert_one(rows[0])
            cursor.execute(insert.sql, insert.parameters(rows[0]))
            return
        self._insert_columns(
            cursor, dict(zip(NewJob._fields, zip(*rows, strict=True), strict=True))
        )

    def inserts_of(self, jobs: AlikeJobs) -> Sequence[Callable[[CursorWrapper], None]]:
        positions = range(len(jobs.ids))
        lengths = map(operator.add, map(len, jobs.args), map(len, jobs.kwargs))
        pieces = pieces_of(positions, lengths, self.insert_chunk)
        return [functools.partial(self._insert_alike, jobs=jobs.piece(at)) for at in pieces]

    def _insert_alike(self, cursor: CursorWrapper, jobs: AlikeJobs) -> None:
        columns: dict[str, Sequence[Any]] = {
            name: (value,) for name, value in jobs.first._asdict().items()
        }
        columns |= {"id": jobs.ids, "args": jobs.args, "kwargs": jobs.kwargs}
        self._insert_columns(cursor, columns)

    def _insert_columns(self, cursor: CursorWrapper, columns: Mapping[str, Sequence[Any]]) -> None:
        """Insert jobs. All have the value of a column whose values are one, or equal."""
        same, arrays = {}, {}
        for name, values in columns.items():
            if name == "id":
                arrays[name] = id_array(values)
            elif values.count(values[0]) == len(values):
                same[name] = values[0]
            elif NEW_TYPES[name] is str and None not in values:
                arrays[name] = text_array(values)
            else:
                arrays[name] = array(values)
        sql = _INSERT.format(
            same=", ".join(f"%s::{_NEW_TYPES[name]} AS {name}" for name in same),
            arrays=", ".join(f"%s::{_NEW_TYPES[name]}[]" for name in arrays),
            names=", ".join(arrays),
        )
        cursor.execute(sql, [*same.values(), *arrays.values()])

    def insert_and_wake(self, row: NewJob, topic: str) -> bool:
        insert, connection = _insert_one(row), self.connection
        if self._past_cursors.is_open_to(connection):
            values = insert.texts(row)
            message = insert.numbered, values
            self._direct.enqueue(connection, message, topic.encode(), values[0], self._of_one)
            return True
        parameters = insert.parameters(row)
        features: Any = connection.features
        if features.uses_server_side_binding or not connection.get_autocommit():
            return False
        with connection.cursor() as cursor:
            if in_own_transaction(connection.connection):
                return False
            try:
                cursor.execute(f"BEGIN; {insert.sql}; COMMIT; {NOTIFY}", [*parameters, topic])
            except Error:
                raw: Any = connection.connection
                if raw is not None and not raw.closed:
                    raw.rollback()
                raise
        return True
