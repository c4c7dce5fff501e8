"""No notification is lost, whenever it comes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from django_jobs.db import Dialect, dialect_for, own_connection

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def listener(vendor: str) -> Iterator[Dialect]:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL notifies")
    before = connections["default"]
    before.ensure_connection()
    dialect = dialect_for(own_connection("default"))
    connections["default"] = before
    assert dialect.listen()
    yield dialect
    dialect.connection.close()


def notify(topic: str) -> None:
    dialect_for(connections["default"]).notify([topic])


def unread(peek: socket.socket) -> bytes:
    try:
        return peek.recv(65536, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def test_notification_to_a_sleeper(listener: Dialect, until: Callable[..., None]) -> None:
    notify("mail")
    heard: list[str] = []
    until(lambda: heard.extend(listener.received()) or heard)
    assert heard == ["mail"]


def test_notification_before_the_next_query(listener: Dialect) -> None:
    notify("mail")
    with listener.connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert listener.received() == ["mail"]


def test_notification_read_together_with_the_end_of_an_answer(
    listener: Dialect, until: Callable[..., None]
) -> None:
    from psycopg.generators import fetch_many

    raw: Any = listener.connection.connection
    raw.pgconn.send_query(b"SELECT 1")
    raw.pgconn.flush()
    with socket.socket(fileno=socket.dup(raw.fileno())) as peek:
        # The answer's end is in the socket's buffer before the notification is sent, and not read.
        until(lambda: b"Z\x00\x00\x00\x05I" in unread(peek))
        notify("mail")
        until(lambda: b"mail" in unread(peek))
    raw.wait(fetch_many(raw.pgconn))
    assert listener.received() == ["mail"]
    assert listener.received() == []
