"""A worker needs no more connections than the server has."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from django_jobs.db import dialect_for
from django_jobs.db.base import Capacity
from django_jobs.worker import capacity
from django_jobs.worker.autoscale import Autoscale
from django_jobs.worker.options import WorkerOptions

pytestmark = pytest.mark.django_db


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    def server(*, used: int = 5, direct: bool = True) -> None:
        told = Capacity(97, used, direct)
        monkeypatch.setattr(
            type(dialect_for(connections["default"])), "capacity", lambda self: told
        )
        # The tests' own connection stays open.
        monkeypatch.setattr(type(connections["default"]), "close", lambda self: None)

    return server


@pytest.mark.parametrize(
    ("options", "processes", "each"),
    [
        (WorkerOptions(processes=100), 100, 4),
        (WorkerOptions(pool="threads", processes=2, slots=8), 2, 11),
        (WorkerOptions(pool="asyncio", processes=2, slots=100), 2, 4),
        (WorkerOptions(pool="gevent", processes=2, slots=500, connections=20), 2, 23),
        (WorkerOptions(autoscale=Autoscale(least=1, most=9, idle_seconds=30)), 9, 4),
    ],
)
def test_connections_that_are_needed(options: WorkerOptions, processes: int, each: int) -> None:
    assert capacity.needed(options) == (processes, each)


def test_start_that_the_server_cannot_serve_is_refused_with_the_sum(server: Any) -> None:
    server()
    sum_ = r"100 processes need 400 connections \(4 each\), and the server allows 97. Start fewer"
    with pytest.raises(CommandError, match=sum_):
        call_command("runworker", concurrency=100)


def test_pooler_before_the_server_refuses_nothing(server: Any) -> None:
    server(direct=False)
    told, refused = capacity.problem(WorkerOptions(processes=100))
    assert "and the server allows 97" in told
    assert not refused


def test_start_that_leaves_the_web_few_connections_gives_a_warning(server: Any) -> None:
    server(used=60)
    assert capacity.problem(WorkerOptions(processes=5)) == ("", False)
    told, refused = capacity.problem(WorkerOptions(processes=8, beat=True))
    assert told.startswith("8 processes need 33 connections (4 each and one for the beat); of 97 ")
    assert "60 are in use, so 4 are left for the web" in told
    assert not refused


def test_server_says_how_many_connections_it_allows(vendor: str) -> None:
    found = dialect_for(connection).capacity()
    if vendor == "sqlite":
        assert found is None
        return
    with connection.cursor() as cursor:
        sql = "SELECT @@max_connections" if vendor == "mysql" else "SHOW max_connections"
        cursor.execute(sql)
        (most,) = cursor.fetchone()
    assert found is not None
    assert 0 < found.allowed <= int(most)
    assert 0 <= found.used < found.allowed
    assert found.direct
