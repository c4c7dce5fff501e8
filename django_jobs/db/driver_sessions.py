"""Sessions as each driver shows them."""

from __future__ import annotations

from typing import Any

from django.db import Error

from . import statements
from .descriptor import descriptor_of
from .session import CLOSED, INTERRUPTED, TRANSACTION, Session


class PostgreSQLSession(Session):
    rules = statements.POSTGRESQL

    def _watch(self, raw: Any) -> None:
        raw._django_jobs_session = self
        raw.cursor_factory = _noticing(raw.cursor_factory)

    def _unwatch(self, raw: Any) -> None:
        raw.cursor_factory = raw.cursor_factory.__base__

    def _state(self, raw: Any, wanted: bool) -> str:
        status = raw.pgconn.transaction_status
        if status == 0:  # idle
            return "" if raw.autocommit == wanted else TRANSACTION
        return {1: INTERRUPTED, 4: CLOSED}.get(status, TRANSACTION)

    def _fileno(self, raw: Any) -> int | None:
        return descriptor_of(raw)

    def _before_drop(self, raw: Any) -> None:
        if raw.pgconn.transaction_status == 1:  # a statement runs
            raw.cancel_safe(timeout=2.0)
        # A pool would hand the session on as it is.
        raw.close()


class MySQLSession(Session):
    rules = statements.MYSQL

    def _watch(self, raw: Any) -> None:
        query = type(raw).query

        def noticed(sql: Any, *others: Any, **named: Any) -> Any:
            self._past_django()
            return query(raw, sql, *others, **named)

        raw.query = noticed

    def _unwatch(self, raw: Any) -> None:
        vars(raw).pop("query", None)

    def _state(self, raw: Any, wanted: bool) -> str:
        if not raw.open:  # PyMySQL remembers the state of a connection that it has closed
            return CLOSED
        return "" if raw.get_autocommit() == wanted else TRANSACTION

    def _ask(self) -> bool:
        raw: Any = self.connection.connection
        try:
            # The server refuses it inside a transaction (1568), and only there.
            raw.cursor().execute("SET TRANSACTION READ WRITE")
        except Exception as error:
            return bool(error.args) and error.args[0] == 1568
        return False

    def _fileno(self, raw: Any) -> int | None:
        return descriptor_of(raw)

    def _rolled_back_by(self, error: Error) -> str:
        return "a deadlock" if error.args and error.args[0] == 1213 else ""


class SQLiteSession(Session):
    rules = statements.SQLITE

    def _state(self, raw: Any, wanted: bool) -> str:
        return TRANSACTION if raw.in_transaction else ""

    def _rolled_back_by(self, error: Error) -> str:
        return "an error" if self.has_lost_transaction() else ""

    def has_lost_transaction(self) -> bool:
        raw: Any = self.connection.connection
        return not raw.in_transaction


def _noticing(factory: Any) -> Any:
    """Return the cursor class *factory*, which tells the session of statements past Django."""
    noticing = _NOTICING.get(factory)
    if noticing is None:
        if factory in _NOTICING.values():
            return factory

        class Noticing(factory):  # type: ignore[misc]
            def execute(self, *args: Any, **kwargs: Any) -> Any:
                self.connection._django_jobs_session._past_django()
                return super().execute(*args, **kwargs)

            def executemany(self, *args: Any, **kwargs: Any) -> Any:
                self.connection._django_jobs_session._past_django()
                return super().executemany(*args, **kwargs)

        noticing = _NOTICING[factory] = Noticing
    return noticing


def unwatched(factory: Any) -> Any:
    """Return the cursor class behind one that tells a session of its statements."""
    return factory.__base__ if factory in _NOTICING.values() else factory


_NOTICING: dict[Any, Any] = {}
_CLASSES: dict[str, type[Session]] = {
    "postgresql": PostgreSQLSession,
    "mysql": MySQLSession,
    "sqlite": SQLiteSession,
}


def session_class(vendor: str) -> type[Session]:
    return _CLASSES.get(vendor, Session)
