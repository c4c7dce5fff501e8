"""Statements that a session of PostgreSQL has prepared, and those of a worker's claims and records.

Django's cursors put the parameters into the text of a statement, so the server parses and plans it
at each use. For a claim that takes longer than its work. Here the parameters go to the server apart
from the statement, which has one plan for as long as the session lives.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from time import monotonic
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors, generators
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus

# Each shape of a row is a statement. More of them than this are sent as text.
_MOST = 16

# The plan is made once, whatever the tables and their statistics are like then. So only the scans
# are left that read few rows in every state of a table: an index in its order, and a row by its
# key. A statement that can only read a whole table looks so expensive now that the server would
# compile it (JIT).
_PLANNER = b"""
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off;
SET jit = off
"""
#: The server has forgotten the statement, or a migration changed the types of what it returns.
UNFIT = (errors.InvalidSqlStatementName, errors.FeatureNotSupported)


class Prepared:
    """The statements that one session of the server has prepared. It lives as long as it.

    It prepares none for the first uses, *after* of them. Before the first one it sends *settings*.
    *prefix* begins the statements' names. Each is planned again after *lasts* seconds: a plan for a
    table of a few rows reads the whole table, which may have grown since.
    """

    def __init__(
        self,
        raw: Any,
        prefix: bytes = b"django_jobs",
        *,
        after: int = 0,
        settings: bytes = b"",
        lasts: float = math.inf,
    ) -> None:
        self.raw = raw
        self._lasts = lasts
        self._until = math.inf
        self._numbers = itertools.count()
        self._prefix = prefix
        self._left = after
        self._settings = settings
        #: The names by statement, or None when the session must not prepare.
        self.names: dict[bytes, bytes] | None = {}

    def names_of(self, statements: Sequence[bytes]) -> list[bytes] | None:
        """Return the names of *statements*, which are prepared if need be; None: send the text."""
        names = self.names
        if names is None:
            return None
        if monotonic() > self._until:
            self._forget(names)
        try:
            return list(map(names.__getitem__, statements))
        except KeyError:
            return self._prepared(names, statements)

    def run(self, statement: bytes, parameters: Sequence[bytes | None]) -> Any:
        """Run *statement* in one round trip; return what the server answers."""
        pgconn = self.raw.pgconn
        names = self.names_of([statement])
        if names is not None:
            try:
                pgconn.send_query_prepared(names[0], parameters)
                return answer(self.raw)
            except UNFIT:
                self.names = None
        pgconn.send_query_params(statement, parameters)
        return answer(self.raw)

    def _prepared(
        self, names: dict[bytes, bytes], statements: Sequence[bytes]
    ) -> list[bytes] | None:
        if self._left:
            self._left -= 1
            return None
        if len(names) > _MOST - len(statements):
            return None
        if not names:
            if not self._begin():
                self.names = None
                return None
            self._until = monotonic() + self._lasts
        pgconn = self.raw.pgconn
        for sql in statements:
            if sql not in names:
                name = b"%b_%d" % (self._prefix, next(self._numbers))
                pgconn.send_prepare(name, sql)
                answer(self.raw)
                names[sql] = name
        return [names[sql] for sql in statements]

    def _forget(self, names: dict[bytes, bytes]) -> None:
        """Have all statements prepared anew at their next use."""
        self._until = math.inf
        self.raw.pgconn.send_query(b"; ".join(b"DEALLOCATE " + name for name in names.values()))
        # DISCARD ALL may have taken them away.
        with contextlib.suppress(errors.InvalidSqlStatementName):
            answer(self.raw)
        names.clear()

    def _begin(self) -> bool:
        """Return whether no pooler shares the server's session: it tells another process id."""
        pgconn = self.raw.pgconn
        pgconn.send_query_params(b"SELECT pg_backend_pid()", None)
        if answer(self.raw).get_value(0, 0) != b"%d" % pgconn.backend_pid:
            return False
        if self._settings:
            pgconn.send_query(self._settings)
            answer(self.raw)
        return True


class WorkerStatements:
    """Runs the statements of claims and records on a worker's own connection.

    The caller has asked :func:`~django_jobs.db.past_cursors.is_open_to`.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._prepared: Prepared | None = None

    def rows(self, statement: bytes, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run *statement*; return its rows as the driver reads them for Django."""
        return rows_of(self._connection.connection, self._run(statement, values))

    def change(self, statement: bytes, values: Sequence[Any]) -> int:
        """Run *statement*; return how many rows it changed."""
        return self._run(statement, values).command_tuples or 0

    def _run(self, statement: bytes, values: Sequence[Any]) -> Any:
        raw: Any = self._connection.connection
        parameters = texts(values)
        with self._connection.wrap_database_errors, raw.lock:
            return self._prepared_by(raw).run(statement, parameters)

    def _prepared_by(self, raw: Any) -> Prepared:
        prepared = self._prepared
        if prepared is None or prepared.raw is not raw:
            prepared = Prepared(raw, b"django_jobs_worker", settings=_PLANNER)
            self._prepared = prepared
        return prepared


def texts(values: Sequence[Any]) -> list[bytes | None]:
    """Return parameters as the server reads them."""
    return [None if value is None else str(value).encode() for value in values]


def rows_of(raw: Any, result: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a *result* as the driver reads them for Django."""
    transformer = Transformer(raw)
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)


def answer(raw: Any) -> Any:
    """Return the last result of what was sent to the server; raise the error of a failed one."""
    result: Any = None
    for result in raw.wait(generators.execute(raw.pgconn)):
        if result.status == ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result)
    return result
