"""Threads with connections of their own, for tests that force one order of events."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection, connections, transaction

from tests.waiting import LONG


class Aside(threading.Thread):
    """Does *action* beside the test; :meth:`result` waits for it and returns or raises."""

    def __init__(self, action: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._action = action
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._action()
        except BaseException as error:
            self._error = error
        finally:
            connections.close_all()

    def result(self) -> Any:
        self.join(LONG)
        assert not self.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error
        return self._value


@contextlib.contextmanager
def held(lock: Callable[[], Any]) -> Iterator[None]:
    """Let another transaction do *lock*, and keep it open."""
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            lock()
            locked.set()
            assert done.wait(LONG)

    holder = Aside(hold)
    try:
        while not locked.wait(0.1):
            assert holder.is_alive(), holder.result()
        yield
    finally:
        done.set()
    holder.result()


class Meeting:
    """A point that threads pass together; one that comes late, or never, does not stop the rest.

    A lock may keep the others from coming: the test then shows what happens when it does.
    """

    def __init__(self, number: int, seconds: float = 1.0) -> None:
        self._barrier = threading.Barrier(number, timeout=seconds)

    def wait(self) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait()


def someone_waits() -> bool:
    """Tell whether a transaction waits for a lock of another one."""
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            # information_schema keeps what it told while it is asked often.
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
            _name, number = cursor.fetchone()
        else:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND wait_event_type = 'Lock'"
            )
            (number,) = cursor.fetchone()
    return int(number) > 0
