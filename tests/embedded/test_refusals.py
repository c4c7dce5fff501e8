"""An embedded worker refuses places and options, and its errors say what to do."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_jobs import embedded, job
from django_jobs.embedded import places
from django_jobs.testing import override_jobs

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_worker", None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"concurrency": 0}, "concurrency must be a whole number ≥ 1, got 0."),
        ({"concurrency": True}, "concurrency must be a whole number ≥ 1, got True."),
        ({"concurrency": 1.5}, "concurrency must be a whole number ≥ 1, got 1.5."),
        ({"queues": "mail"}, "queues must be a list of names of queues or None, got 'mail'."),
        ({"exclude": [""]}, r"exclude must be a list of names of queues or None, got \[''\]."),
        ({"queues": 3}, "queues must be a list of names of queues or None, got 3."),
        ({"beat": 1}, "beat=1 must be True or False."),
        ({"stop_timeout": -1}, "stop_timeout must be seconds ≥ 0, got -1."),
        ({"stop_timeout": float("inf")}, "stop_timeout must be seconds ≥ 0, got inf."),
        ({"stop_timeout": "20"}, "stop_timeout must be seconds ≥ 0, got '20'."),
    ],
)
def test_wrong_option_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embedded.start(**given)


def test_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="pool"):
        embedded.start(pool="prefork")  # type: ignore[call-arg]


def test_jobs_on_several_databases_need_queues_of_one() -> None:
    with override_jobs(QUEUES={"reports": {"DATABASE": "reports"}}):
        with pytest.raises(ImproperlyConfigured, match="live on the databases default, reports, "):
            embedded.start()
        with pytest.raises(ImproperlyConfigured, match="an embedded worker serves one database"):
            embedded.start(queues=["reports", "default"])
        assert embedded.start(queues=["reports"]).options.using == "reports"


def test_database_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setitem(
        connections.settings, "memory", {**connections.settings["default"], **memory}
    )
    monkeypatch.setattr(places, "why_none", lambda: "")  # otherwise a test run starts nothing
    message = "'memory' is an SQLite in memory"
    with override_jobs(DATABASE="memory"), pytest.raises(ImproperlyConfigured, match=message):
        embedded.start(queues=["default"])


def test_limits_that_threads_cannot_keep_are_refused(registered: dict[str, Any]) -> None:
    @job(queue="apart", time_limit=5)
    def limited() -> None: ...

    with pytest.raises(ImproperlyConfigured, match="limited: A hard time limit cannot stop a thr"):
        embedded.start(queues=["apart"])


def test_django_must_be_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "ready", False)  # as in AppConfig.ready()
    with pytest.raises(RuntimeError, match=r"not in AppConfig.ready\(\), which every management"):
        embedded.start()


def test_asgi_servers_need_asgi() -> None:
    async def load() -> None:
        embedded.start()

    message = "Wrap the application instead, as in `application = "
    with pytest.raises(RuntimeError, match=message):
        asyncio.run(load())
    with pytest.raises(RuntimeError, match=message):
        exec("start()", {"__name__": "uvicorn.importer", "start": embedded.start})


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def make(name: str, **names: Any) -> None:
        made = types.ModuleType(name)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)

    return make


def test_uwsgi_and_greenlets_are_refused(module: Any) -> None:
    module("gevent.monkey", is_module_patched=lambda name: name != "threading")
    assert not embedded.start(queues=["default"]).running
    module("gevent.monkey", is_module_patched=lambda name: name == "threading")
    with pytest.raises(RuntimeError, match="gevent has replaced Python's threads"):
        embedded.start()
    module("uwsgi")
    with pytest.raises(RuntimeError, match="attach-daemon = python manage"):
        embedded.start()


def test_test_run_has_no_worker_and_a_second_start_is_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "django_jobs.worker"):
        worker = embedded.start(queues=["default"])
    assert "no embedded worker: it is a test run" in caplog.text
    assert not worker.running
    assert worker.stop()
    assert embedded.start(queues=["default"]) is not worker  # that one was stopped
    with pytest.raises(ValueError, match="This process has a worker with other options"):
        embedded.start(queues=["mail"])
    assert embedded.start(queues=["default"]) is embedded.start(queues=["default"])


@pytest.mark.parametrize(
    ("command", "child", "reason"),
    [
        ("runserver", "true", ""),
        ("runserver --noreload", "", ""),
        ("runserver", "", "it is the reloader of runserver, whose child serves the requests"),
        ("migrate", "", "`manage.py migrate` serves no requests"),
        ("", "", "`manage.py` serves no requests"),
    ],
)
def test_commands_that_serve_no_requests_say_so(
    command: str, child: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_MAIN", child)
    assert places.no_requests(["manage.py", *command.split()]) == reason


async def tell(application: Any) -> list[str]:
    """Let *application* hear of a server's start and end; return the types of its answers."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await application({"type": "lifespan"}, receive, send)
    return sent


def test_application_with_a_lifespan_of_its_own_keeps_it() -> None:
    heard: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        for word in ("startup", "shutdown"):
            heard.append((await receive())["type"])
            await send({"type": f"lifespan.{word}.complete"})

    async def without(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("only HTTP")

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ValueError("no start")

    answers = ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert asyncio.run(tell(embedded.asgi(inner, queues=["default"]))) == answers
    assert heard == ["lifespan.startup", "lifespan.shutdown"]
    assert asyncio.run(tell(embedded.asgi(without, queues=["default"]))) == answers
    with pytest.raises(ValueError, match="no start"):
        asyncio.run(tell(embedded.asgi(broken, queues=["default"])))
