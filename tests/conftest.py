"""Fixtures that every test may use."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.db import connections
from django.test import Client

from django_jobs import log
from django_jobs.api.job import JobFunction
from django_jobs.db import clock
from django_jobs.define import instrumentation, registry
from django_jobs.metrics import cache
from django_jobs.metrics.capped_count import ready_queues
from django_jobs.models import Worker
from django_jobs.run.claim import claim
from django_jobs.run.environment import Environment
from django_jobs.values import Claimed, Outcome
from django_jobs.worker.inline import run_ready
from django_jobs.worker.loop import WorkerLoop
from tests.flush import flush_after_tests
from tests.forkserver import ForkServer, environment
from tests.once import is_deselected
from tests.waiting import LONG
from tests.worker.parts import a_loop

# Its default is a time for each example, which a busy machine exceeds.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_sessionstart() -> None:
    flush_after_tests()
    # While the tests are collected, nothing is garbage: the collector of cycles would look at all
    # modules and tests again and again.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module of which ``-m once`` or ``-m "not once"`` deselects each test."""
    chosen = config.option.markexpr
    if collection_path.suffix != ".py" or chosen not in ("once", "not once"):
        return None
    return is_deselected(collection_path.read_text(), chosen) or None


@pytest.fixture(autouse=True)
def no_overview_kept() -> None:
    """Let no test see the overview that an earlier one read."""
    cache.clear()


@pytest.fixture
def overview_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep an overview that the test has read, however long the test takes."""
    recent = cache.recent
    monkeypatch.setattr(cache, "recent", lambda read, using, _seconds: recent(read, using, LONG))


@pytest.fixture(autouse=True)
def no_outage_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test find an outage, or an unknown job function, logged that an earlier one met."""
    monkeypatch.setattr(log, "outage", log.Outage())
    monkeypatch.setattr(log, "deferred", set())


@pytest.fixture(scope="session", autouse=True)
def no_files_left(django_db_setup: None) -> Iterator[None]:
    """Remove what SQLite keeps beside a database's file, which Django leaves."""
    yield
    settings = connections["default"].settings_dict
    if settings["ENGINE"].endswith("sqlite3"):
        atexit.register(remove_beside, Path(settings["TEST"]["NAME"]))


def remove_beside(database: Path) -> None:
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


@pytest.fixture
def no_instrumentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test meet a tracer that an earlier one registered: Sentry's stays."""
    monkeypatch.setattr(instrumentation, "instrumentations", ())


@pytest.fixture(scope="session")
def vendor() -> str:
    """The database under test: postgresql, mysql or sqlite."""
    return connections["default"].vendor


@pytest.fixture(scope="session")
def fork_server(django_db_setup: None) -> Iterator[Callable[[], ForkServer]]:
    """Return the server that forks ``manage.py``; it starts when it is first asked for."""
    server = functools.cache(lambda: ForkServer(environment()))
    yield server
    if server.cache_info().currsize:
        server().stop()


@pytest.fixture(scope="session")
def gevent_server(django_db_setup: None) -> Iterator[Callable[[], ForkServer]]:
    """Return the server whose forks can run a gevent pool."""
    server = functools.cache(lambda: ForkServer(environment(), is_patched=True))
    yield server
    if server.cache_info().currsize:
        server().stop()


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Undo what commands and tests change of the package's logger."""
    package = logging.getLogger("django_jobs")
    level, handlers = package.level, package.handlers[:]
    yield
    package.setLevel(level)
    package.handlers[:] = handlers


@pytest.fixture
def registered() -> Iterator[dict[str, Any]]:
    """The registry of job functions; what a test adds to it is gone afterwards."""
    before = dict(registry._functions)
    yield registry._functions
    registry._functions.clear()
    registry._functions.update(before)


@pytest.fixture
def new_worker(db: None) -> Callable[..., Worker]:
    """Make a worker's row with a lease of so many seconds, by the database's clock."""

    def make(lease_seconds: float = 60, **fields: Any) -> Worker:
        row: dict[str, Any] = {
            "name": "w",
            "hostname": "host",
            "pid": 1,
            "pool": "solo",
            "started_at": clock("default"),
            "heartbeat_at": clock("default"),
            "lease_until": clock("default", lease_seconds),
        }
        return Worker.objects.create(**(row | fields))

    return make


@pytest.fixture
def worker(new_worker: Callable[..., Worker]) -> Worker:
    """A live worker's row."""
    return new_worker()


@pytest.fixture
def take(worker: Worker) -> Callable[..., list[Claimed]]:
    """Claim ready jobs for the worker."""

    def take(
        limit: int = 100, queues: Sequence[str] = ("default",), by: Worker = worker
    ) -> list[Claimed]:
        return claim(by.pk, list(queues), limit, "default")[0]

    return take


@pytest.fixture
def work(worker: Worker) -> Callable[..., list[Outcome]]:
    """Run ready jobs once, as a worker does; return the outcomes that counted."""

    def work(
        limit: int = 100,
        queues: Sequence[str] = ("default",),
        environment: Environment | None = None,
    ) -> list[Outcome]:
        environment = environment or Environment(worker_name="w")
        return run_ready(
            worker.pk, list(queues), using="default", limit=limit, environment=environment
        )

    return work


@pytest.fixture
def drain(work: Callable[..., list[Outcome]]) -> Callable[..., list[Outcome]]:
    """Work until nothing is ready; return all outcomes."""

    def drain(limit: int = 100, **options: Any) -> list[Outcome]:
        every: list[Outcome] = []
        while queues := ready_queues("default"):
            every += work(limit, queues, **options)
        return every

    return drain


@pytest.fixture
def run(work: Callable[..., list[Outcome]]) -> Callable[..., Outcome]:
    """Enqueue one call of a job function and run one attempt; return how it ended."""

    def run(
        function: JobFunction[..., Any, Any],
        *args: Any,
        environment: Environment | None = None,
        **kwargs: Any,
    ) -> Outcome:
        function.apply_async(args, kwargs)
        (outcome,) = work(environment=environment)
        return outcome

    return run


@pytest.fixture
def new_loop(worker: Worker) -> Iterator[Callable[..., WorkerLoop]]:
    """Make loops of the worker, as :func:`tests.worker.parts.a_loop` does; close their wakers."""
    with contextlib.ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> WorkerLoop:
            loop = a_loop(worker, *arguments, **options)
            stack.callback(loop.wakeup.waker.close)
            return loop

        yield make


@pytest.fixture
def job_lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[int], list[str]]]:
    """Return the lines of a level that the log of jobs has so far."""
    with caplog.at_level(logging.INFO, "django_jobs.job"):
        yield lambda level: [r.getMessage() for r in caplog.records if r.levelno == level]


@pytest.fixture
def client_of(client: Client) -> Callable[..., Client]:
    """Log a member of staff in who has these permissions."""

    def log_in(*codenames: str, is_superuser: bool = False) -> Client:
        from django.contrib.auth.models import Permission, User  # needs the apps

        user = User.objects.create_user("ann", is_staff=True, is_superuser=is_superuser)
        chosen = Permission.objects.filter(content_type__app_label="django_jobs")
        user.user_permissions.set(chosen.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def boss(client_of: Callable[..., Client]) -> Client:
    return client_of(is_superuser=True)


@pytest.fixture
def switching() -> Iterator[None]:
    """Let the threads of a race take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition; fail when it does not hold in time."""

    def until(
        condition: Callable[[], Any], seconds: float = LONG, *, found: Callable[[], Any] = str
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not true within {seconds} s {found()}"
            time.sleep(0.005)

    return until
