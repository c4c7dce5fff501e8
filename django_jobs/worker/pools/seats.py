"""The database connections of a gevent pool: a greenlet has some while its job uses the ORM."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from gevent.event import AsyncResult

from ...db.session import Session, here


class Seat:
    """The connections of one greenlet at a time, by alias, and their watched sessions."""

    def __init__(self) -> None:
        self.connections: dict[str, BaseDatabaseWrapper] = {}
        self.sessions: tuple[Session, ...] = ()


class Seats:
    """Gives a seat to each greenlet of the pool that uses a database, as long as there is one.

    A greenlet takes its seat with its first use of any alias and waits for nothing afterwards. So
    no two of them ever wait for each other. Those that wait are served in their order.
    """

    def __init__(self, number: int) -> None:
        # The seat that was given back last comes first: few connections serve little work.
        self._free = [Seat() for _ in range(number)]
        self._every = list(self._free)
        self._waiting: deque[AsyncResult] = deque()
        # By greenlet of the pool; None while it has no seat.
        self._taken: dict[Any, Seat | None] = {}
        self._create = connections.create_connection

    @contextmanager
    def governing(self) -> Iterator[None]:
        """Govern ``django.db.connections``; at the end, close all connections of the seats."""
        connections.create_connection = self._connection  # type: ignore[method-assign]
        try:
            yield
        finally:
            del connections.create_connection
            for seat in self._every:
                for connection in seat.connections.values():
                    connection.close()

    @contextmanager
    def member(self) -> Iterator[None]:
        """Let the current greenlet need a seat for its connections."""
        greenlet = gevent.getcurrent()
        self._taken[greenlet] = None
        try:
            yield
        finally:
            self.leave()
            del self._taken[greenlet]

    def leave(self) -> None:
        """Give the seat of the current greenlet back, if it has one."""
        greenlet = gevent.getcurrent()
        seat = self._taken[greenlet]
        if seat is None:
            return
        self._taken[greenlet] = None
        for connection in connections.all(initialized_only=True):
            del connections[connection.alias]
        seat.sessions, here.sessions = here.sessions, ()
        self._give(seat)

    def _give(self, seat: Seat) -> None:
        if self._waiting:
            self._waiting.popleft().set(seat)
        else:
            self._free.append(seat)

    def _connection(self, alias: str) -> BaseDatabaseWrapper:
        """Make the connection of *alias* for ``django.db.connections``: one of the seat."""
        greenlet = gevent.getcurrent()
        if greenlet not in self._taken:  # the loop's, or one that a job has started
            return self._create(alias)
        seat = self._taken[greenlet]
        if seat is None:
            seat = self._taken[greenlet] = self._take()
            here.sessions = seat.sessions
        connection = seat.connections.get(alias)
        if connection is None:
            connection = seat.connections[alias] = self._create(alias)
            # One greenlet after the other uses it.
            connection.inc_thread_sharing()
        return connection

    def _take(self) -> Seat:
        if self._free:
            return self._free.pop()
        answer: AsyncResult = AsyncResult()
        self._waiting.append(answer)
        try:
            seat: Seat = answer.get()
        except BaseException:  # a time limit, or a stop
            if answer.ready():
                self._give(answer.value)
            else:
                self._waiting.remove(answer)
            raise
        return seat
