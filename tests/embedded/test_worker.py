"""An embedded worker in the process of the tests: its rows, its stop, its commands, its forks."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from django_jobs.control import commands
from django_jobs.embedded.guest import EmbeddedWorker
from django_jobs.embedded.options import build
from django_jobs.models import Worker
from django_jobs.worker.loop import WorkerLoop
from tests.integration import jobs
from tests.waiting import LONG

Begin = Callable[..., EmbeddedWorker]


@pytest.fixture
def begin(transactional_db: None, until: Any) -> Iterator[Begin]:
    """Start embedded workers; those that still run at the test's end are stopped."""
    begun: list[EmbeddedWorker] = []

    def begin(**given: Any) -> EmbeddedWorker:
        defaults = {"concurrency": 2, "queues": ["default"], "exclude": None, "beat": True}
        worker = EmbeddedWorker(build(**{**defaults, "stop_timeout": LONG, **given}))
        begun.append(worker)
        worker.begin()
        until(lambda: Worker.objects.live().count() == 1 + worker.options.beat)
        return worker

    yield begin
    for each in begun:
        each.stop(0)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path)


def tell(verb: str, **arguments: Any) -> dict[str, Any]:
    """Send a command to the only worker; return its answer."""
    (row,) = commands.wait(commands.send(verb, arguments), LONG)
    answer: dict[str, Any] = row.answer
    return answer


@pytest.fixture
def handler_of_the_server() -> Iterator[None]:
    """The web server handles HUP."""
    before = signal.signal(signal.SIGHUP, lambda number, frame: None)
    yield
    signal.signal(signal.SIGHUP, before)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in sorted(signal.valid_signals())]


def test_it_is_a_worker_with_a_beat_and_ends_with_its_job(
    begin: Begin, folder: str, until: Any, capsys: Any
) -> None:
    before = handlers()
    worker = begin()
    assert handlers() == before
    assert worker.running
    named = {row.pool: row.name for row in Worker.objects.live()}
    assert set(named) == {"embedded", "beat"}
    assert named["embedded"].endswith(f"-web-{os.getpid()}")
    call_command("jobs", "inspect", "stats")
    assert "embedded" in capsys.readouterr().out
    job = jobs.hold.delay(folder)
    until(Path(folder, "notes").exists)
    Path(folder, "go").touch()
    assert worker.stop()
    assert job.status == "SUCCESS"
    assert not worker.running
    assert not Worker.objects.live().exists()
    assert worker.stop()


@pytest.mark.parametrize("how", ["stop", "command"])
def test_job_that_outlives_the_stop_is_given_back_and_its_end_dropped(
    begin: Begin, folder: str, until: Any, how: str
) -> None:
    worker = begin(beat=False)
    Path(folder, "notes").touch()
    job, once = jobs.hold.delay(folder), jobs.hold_once.delay(folder)
    until(lambda: len(Path(folder, "notes").read_text().splitlines()) == 2)
    if how == "stop":
        assert not worker.stop(0)
    else:
        assert tell("shutdown", cold=True) == {"shutdown": "cold"}
        until(lambda: not worker.running)
    assert (job.status, job.job.crashes) == ("PENDING", 0)
    assert (once.status, once.job.error_class) == ("FAILURE", "django_jobs.exceptions.WorkerLost")
    assert not Worker.objects.live().exists()
    Path(folder, "go").touch()
    until(worker._worker_ended.is_set)
    assert job.status == "PENDING"
    assert Worker.objects.count() == 1  # the heartbeat has not registered it again


def test_commands_stop_the_worker_and_not_the_process(begin: Begin, until: Any) -> None:
    worker = begin(beat=False)
    assert tell("grow", number=1) == {
        "error": "An embedded worker stays one process. Start another one beside it."
    }
    assert tell("shutdown", cold=False) == {"shutdown": "warm"}
    until(lambda: not worker.running)
    assert not Worker.objects.live().exists()


def test_thread_that_fails_ends_the_worker_and_not_the_process(
    begin: Begin,
    folder: str,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = set(threading.enumerate())
    worker = begin(beat=False, concurrency=1)
    job = jobs.hold.delay(folder)
    until(Path(folder, "notes").exists)
    claimed = jobs.mark.delay(folder, "claimed ahead")
    until(lambda: claimed.status == "STARTED")

    def fail(self: WorkerLoop) -> bool:
        raise SystemExit

    monkeypatch.setattr(WorkerLoop, "turn", fail)
    until(lambda: not worker.running)
    assert (job.status, job.job.crashes) == ("PENDING", 0)
    assert not Worker.objects.live().exists()
    Path(folder, "go").touch()
    until(lambda: set(threading.enumerate()) <= threads)
    # Another worker may have both by now.
    assert "claimed ahead" not in Path(folder, "notes").read_text()
    assert "jobs left" not in caplog.text


def test_it_serves_its_queues(begin: Begin, folder: str) -> None:
    begin(queues=["mail", "slow"], exclude=["slow"], beat=False)
    others = [jobs.mark.apply_async((folder, name), queue=name) for name in ("default", "slow")]
    assert jobs.mark.apply_async((folder, "mail"), queue="mail").get(timeout=LONG) == "mail"
    assert [other.status for other in others] == ["PENDING", "PENDING"]
    assert Worker.objects.live().get().queues == ["mail", "slow"]


@pytest.mark.usefixtures("handler_of_the_server")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_of_a_request_has_no_worker_and_harms_none(
    begin: Begin, folder: str, until: Any
) -> None:
    worker = begin()
    job = jobs.hold.delay(folder)
    until(Path(folder, "notes").exists)
    before = handlers()

    def child() -> None:
        worker.stop(0)
        worker._at_exit()
        found = [worker.running, worker._asked.is_set(), handlers() == before]
        Path(folder, "child").write_text(json.dumps(found))

    session = connection.connection
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(LONG)
    assert process.exitcode == 0
    assert json.loads(Path(folder, "child").read_text()) == [False, False, True]
    assert connection.connection is session
    assert job.status == "STARTED"
    Path(folder, "go").touch()
    assert job.get(timeout=LONG) == os.getpid()
    assert jobs.mark.delay(folder, 1).get(timeout=LONG) == 1
    assert Worker.objects.live().count() == Worker.objects.count() == 2
    assert worker.stop()


def test_job_that_the_end_of_the_interpreter_refuses_a_thread_is_given_back(
    begin: Begin, folder: str, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = begin(beat=False)
    job = jobs.hold_then_thread.delay(folder)
    until(Path(folder, "notes").exists)
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)
    Path(folder, "go").touch()
    until(worker._worker_ended.is_set)
    assert (job.status, job.job.crashes, job.job.retries) == ("PENDING", 0, 0)
