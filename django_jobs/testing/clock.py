"""Lets the databases' clocks stand at a moment of the future."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import connections

from ..db import dialect_for, unix_time


def now(using: str) -> datetime.datetime:
    """Return the database's time, in UTC."""
    return datetime.datetime.fromtimestamp(unix_time(using), datetime.UTC)


@contextlib.contextmanager
def standing_at(moment: datetime.datetime | None, databases: Sequence[str]) -> Iterator[None]:
    """Let the clocks of *databases* stand at *moment* for this thread's statements; None: go on.

    The statements name the clock by a few texts, and these are replaced. Nothing is written, so
    limits, schedules and expiry follow the clock as the rows have them.
    """
    with contextlib.ExitStack() as stack:
        for using in databases if moment is not None else ():
            stack.enter_context(_standing_at(moment, using))
        yield


@contextlib.contextmanager
def _standing_at(moment: Any, using: str) -> Iterator[None]:
    dialect = dialect_for(connections[using])
    texts = dialect.clock_texts(moment)

    def replace(
        execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if isinstance(sql, str):
            for clock, stopped in texts.items():
                sql = sql.replace(clock, stopped)
        return execute(sql, params, many, context)

    dialect.stands_at = moment
    try:
        with connections[using].execute_wrapper(replace):
            yield
    finally:
        dialect.stands_at = None
