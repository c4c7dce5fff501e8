"""Lets jobs commit inside the transaction that a test holds open.

A worker's connection is in autocommit. That of a ``TestCase`` is inside a transaction: a statement
that fails would break it for good, ``on_commit`` hooks would never run, and ``select_for_update()``
would work without ``atomic()``. Here the connection behaves as in a worker, and each of its
transactions is a savepoint.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

_SAVEPOINT, _STATEMENT = "django_jobs_transaction", "django_jobs_statement"
#: Django's own state of a transaction, as it is outside of one.
_OUTSIDE: dict[str, Any] = {
    "autocommit": True,
    "in_atomic_block": False,
    "commit_on_exit": True,
    "needs_rollback": False,
    "run_commit_hooks_on_set_autocommit_on": False,
}
_LISTS = ("savepoint_ids", "atomic_blocks", "run_on_commit")
_REPLACED = (
    "_commit",
    "_rollback",
    "_set_autocommit",
    "_start_transaction_under_autocommit",
    "close",
)


@contextlib.contextmanager
def committing() -> Iterator[None]:
    """Let this thread's connections behave as in autocommit, if they are inside a transaction."""
    with contextlib.ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                # It fails here as the test's next statement would.
                connection.validate_no_broken_transaction()
                stack.enter_context(_Nested(connection).replaced())
        yield


def end_transactions() -> str:
    """Roll back what a body left open on this thread's connections; return the alias, or ""."""
    left = ""
    for connection in connections.all(initialized_only=True):
        wanted = connection.settings_dict["AUTOCOMMIT"]
        opened = connection.connection is not None and connection.autocommit != wanted
        if opened or connection.in_atomic_block:
            left = connection.alias
            _forget(connection)
            connection.rollback()
            connection.set_autocommit(wanted)
    return left


def _forget(connection: BaseDatabaseWrapper) -> None:
    """Leave atomic blocks, as far as Django knows of them."""
    connection.in_atomic_block = connection.needs_rollback = False
    for name in _LISTS:
        setattr(connection, name, [])


class _Nested:
    """The transactions of one connection, as savepoints of the transaction that it is in."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.is_open = False

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        connection = self.connection
        state = {name: getattr(connection, name) for name in (*_OUTSIDE, *_LISTS)}
        own = {name: value for name, value in vars(connection).items() if name in _REPLACED}
        for name, value in _OUTSIDE.items():
            setattr(connection, name, value)
        for name in _LISTS:
            setattr(connection, name, [])
        for name, method in self._methods().items():
            setattr(connection, name, method)
        try:
            with connection.execute_wrapper(self._statement):
                yield
        finally:
            if self.is_open:
                self._end(commit=False)
            for name in _REPLACED:
                vars(connection).pop(name, None)
            vars(connection).update(own)
            for name, value in state.items():
                setattr(connection, name, value)

    def _methods(self) -> dict[str, Callable[..., None]]:
        methods: dict[str, Callable[..., None]] = {
            "_commit": lambda: self._next(commit=True),
            "_rollback": lambda: self._next(commit=False),
            "_set_autocommit": self._set_autocommit,
            "close": self._close,
        }
        if hasattr(self.connection, "_start_transaction_under_autocommit"):
            methods["_start_transaction_under_autocommit"] = self._begin
        return methods

    def _set_autocommit(self, autocommit: bool) -> None:
        if not autocommit:
            self._begin()
        elif self.is_open:
            self._end(commit=True)

    def _begin(self) -> None:
        self._do(self.connection.ops.savepoint_create_sql, _SAVEPOINT)
        self.is_open = True

    def _next(self, *, commit: bool) -> None:
        """End the transaction; the next one begins at once, as it does without autocommit."""
        if self.is_open:
            self._end(commit=commit)
            self._begin()

    def _end(self, *, commit: bool) -> None:
        self.is_open = False
        operations = self.connection.ops
        if not commit:
            self._do(operations.savepoint_rollback_sql, _SAVEPOINT)
        self._do(operations.savepoint_commit_sql, _SAVEPOINT)

    def _close(self) -> None:
        """Keep the connection: without it the test's transaction is lost."""
        if self.connection.in_atomic_block:
            self.connection.needs_rollback = True

    def _statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        # In autocommit a statement that fails undoes only itself. PostgreSQL needs a savepoint for
        # that inside of a transaction.
        if self.connection.vendor != "postgresql" or self.is_open:
            return execute(sql, params, many, context)
        operations = self.connection.ops
        self._do(operations.savepoint_create_sql, _STATEMENT)
        try:
            result = execute(sql, params, many, context)
        except BaseException:
            with contextlib.suppress(Error):
                self._do(operations.savepoint_rollback_sql, _STATEMENT)
                self._do(operations.savepoint_commit_sql, _STATEMENT)
            raise
        self._do(operations.savepoint_commit_sql, _STATEMENT)
        return result

    def _do(self, sql: Callable[[str], str], name: str) -> None:
        # Past Django, which would call _statement() again.
        raw: Any = self.connection.connection
        with self.connection.wrap_database_errors, contextlib.closing(raw.cursor()) as cursor:
            cursor.execute(sql(self.connection.ops.quote_name(name)))
