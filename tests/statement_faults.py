"""What fails in SQLite, which no network parts from a worker: one statement, or one COMMIT."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from django.db import OperationalError, connections


class StatementFaults:
    """Fails the statement that :meth:`lose_after` names, as a disk with an error does."""

    def __init__(self) -> None:
        #: The statement has failed.
        self.lost = threading.Event()
        self._left: int | None = None
        self._when = ""

    def lose_after(self, statements: int, when: str) -> None:
        """Fail the statement after so many others: "before" its effect, or "after" it."""
        self.lost.clear()
        self._left, self._when = statements, when

    def relent(self) -> None:
        """Fail nothing any more."""
        self._left = None

    @contextlib.contextmanager
    def through(self) -> Iterator[None]:
        """Let the statements of this thread fail."""
        connection: Any = connections["default"]
        commit = connection._commit
        connection._commit = lambda: self._do(commit)
        try:
            with connection.execute_wrapper(lambda execute, *args: self._do(execute, *args)):
                yield
        finally:
            del connection._commit

    def _do(self, action: Callable[..., Any], *args: Any) -> Any:
        if self._left is None:
            return action(*args)
        self._left -= 1
        if self._left >= 0:
            return action(*args)
        self.relent()
        # A BEGIN that fails has begun nothing.
        if self._when == "after" and not (args and str(args[0]).startswith("BEGIN")):
            action(*args)
        self.lost.set()
        raise OperationalError("disk I/O error")
