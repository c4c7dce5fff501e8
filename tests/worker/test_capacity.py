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
from django_jobs.worker.capacity import Need
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
    ("options", "processes", "own", "jobs"),
    [
        (WorkerOptions(processes=100), 100, 102, 100),
        (WorkerOptions(processes=2, beat=True), 2, 5, 2),
        (WorkerOptions(pool="solo"), 1, 3, 1),
        (WorkerOptions(pool="threads", processes=2, slots=8), 2, 4, 16),
        (WorkerOptions(pool="asyncio", processes=2, slots=100), 2, 4, 2),
        (WorkerOptions(pool="gevent", processes=2, slots=500, connections=20), 2, 4, 40),
        (WorkerOptions(autoscale=Autoscale(least=1, most=9, idle_seconds=30)), 9, 11, 9),
    ],
)
def test_connections_that_are_needed(
    options: WorkerOptions, processes: int, own: int, jobs: int
) -> None:
    assert Need.of(options) == Need(processes, own, jobs)


def test_start_that_the_server_cannot_serve_is_refused_with_the_sum(server: Any) -> None:
    server()
    with pytest.raises(CommandError, match=r"hold 102 connections .*server allows 97. Start fewer"):
        call_command("runworker", concurrency=100)


def test_pooler_before_the_server_refuses_nothing(server: Any) -> None:
    found = Capacity(97, 5, direct=False)
    told, refused = capacity.problem(WorkerOptions(processes=100), found)
    assert "and the server allows 97" in told
    assert not refused


def test_start_that_leaves_the_web_few_connections_gives_a_warning() -> None:
    found = Capacity(97, 60, direct=True)
    assert capacity.problem(WorkerOptions(processes=12), found) == ("", False)
    told, refused = capacity.problem(WorkerOptions(processes=15, beat=True), found)
    assert told.startswith(
        "15 processes hold 18 connections (one each, 2 for the coordinator, one for the beat), and "
        "their jobs may open 15 more; of 97 that the server allows, 60 are in use, so 4 are left"
    )
    assert not refused


def test_jobs_that_may_open_more_than_there_are_refuse_nothing() -> None:
    told, refused = capacity.problem(WorkerOptions(processes=100), Capacity(147, 5, direct=True))
    assert "100 processes hold 102 connections" in told
    assert "so 0 are left for the web" in told
    assert not refused


def test_start_logs_the_sum(
    server: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server(used=7)
    monkeypatch.setattr("django_jobs.management.commands.runworker._run", lambda *_, **__: 0)
    with pytest.raises(SystemExit):
        call_command("runworker", concurrency=5)
    assert "connections processes=5 own=7 jobs=5 allowed=97 used=7" in caplog.text


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


def test_several_hosts_with_a_port_each_are_no_pooler(vendor: str) -> None:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL's driver takes several hosts")
    several = connections.create_connection("default")
    own = several.settings_dict
    several.settings_dict = {**own, "PORT": f"1,{own['PORT'] or 5432}"}
    several.connection = connection.connection
    found = dialect_for(several).capacity()
    assert found is not None
    assert found.direct
