"""Real web servers with embedded workers: where they start, and how they end with their server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_jobs.models import Worker
from tests.integration import jobs
from tests.waiting import LONG
from tests.written import written

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
SITE = "tests.embedded.wsgi"


class Server:
    """A process of this Python with *arguments*, on the tests' database."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "TEST_DATABASE_NAME": str(connections["default"].settings_dict["NAME"]),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
        )

    def output(self) -> str:
        return written(self.log)

    def clean_up(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


@pytest.fixture
def serve(transactional_db: None, until: Any) -> Iterator[Callable[..., Server]]:
    """Start servers, wait for so many workers; what still runs at the test's end is killed."""
    started: list[Server] = []

    def serve(*arguments: str, workers: int = 1, **environment: str) -> Server:
        server = Server(*arguments, **environment)
        started.append(server)
        until(lambda: embedded().count() == workers or server.process.poll() is not None)
        return server

    yield serve
    for server in started:
        server.clean_up()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path)


def embedded() -> Any:
    return Worker.objects.live().filter(pool="embedded")


def pids() -> set[int]:
    return set(embedded().values_list("pid", flat=True))


def children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(child) for child in tasks.read_text().split()}


@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["load", "preload"])
def test_gunicorn_has_a_worker_in_each_web_process(
    serve: Any, folder: str, until: Any, flags: tuple[str, ...]
) -> None:
    stop_timeout = "300" if flags else "0.1"
    server = serve(
        *("-m", "gunicorn", SITE, "-w", "2", "-b", "127.0.0.1:0", "--graceful-timeout", "300"),
        *flags,
        workers=2,
        TEST_STOP_TIMEOUT=stop_timeout,
    )
    assert pids() == children(server.process.pid)
    until(lambda: Worker.objects.live().count() == 4)  # each has a beat, too
    job = jobs.hold_then_thread.delay(folder)
    until(Path(folder, "notes").exists)
    server.process.terminate()
    until(lambda: Worker.objects.exclude(stopped_at=None).filter(pool="embedded").exists())
    if flags:
        Path(folder, "go").touch()
    assert server.process.wait(LONG) == 0, server.output()
    assert (job.status, job.job.crashes) == ("SUCCESS" if flags else "PENDING", 0)
    assert Worker.objects.count() == Worker.objects.exclude(stopped_at=None).count() == 4


def test_uvicorn_waits_for_the_running_job(serve: Any, folder: str, until: Any) -> None:
    server = serve("-m", "uvicorn", "tests.embedded.asgi:application", "--port", "0")
    job = jobs.hold_then_thread.delay(folder)
    until(Path(folder, "notes").exists)
    # uvicorn loads the application, whose worker then runs jobs, before it handles signals.
    until(lambda: "Application startup complete" in server.output())
    server.process.terminate()
    until(embedded().exclude(stopping_at=None).exists)
    Path(folder, "go").touch()
    # uvicorn ends by the signal itself.
    assert server.process.wait(LONG) == -signal.SIGTERM, server.output()
    assert job.status == "SUCCESS"
    assert not Worker.objects.live().exists()


def test_runserver_has_one_worker_that_ends_before_a_reload(
    serve: Any, folder: str, until: Any, tmp_path: Path
) -> None:
    code = tmp_path / "site_settings.py"
    code.write_text(
        f"from tests.settings import *\nDEBUG = True\nWSGI_APPLICATION = '{SITE}.application'\n"
    )
    common = ("--settings", "site_settings", "--pythonpath", str(tmp_path))
    server = serve("manage.py", "runserver", "127.0.0.1:0", *common)
    assert pids() <= children(server.process.pid)
    other = serve(
        "manage.py", "shell", *common, "-c", f"from {SITE} import worker as w; print(w.running)"
    )
    assert other.process.wait(LONG) == 0, other.output()
    assert "False" in other.output()
    held, refused = jobs.hold.delay(folder), jobs.hold_then_thread.delay(folder)
    until(lambda: len(lines(folder)) == 2)
    first = pids()
    until(lambda: embedded().exclude(stopping_at=None).exists() or code.touch())
    Path(folder, "go").touch()
    assert held.get(timeout=LONG) in first
    # Python lets no thread start while its interpreter ends, so the next worker runs this job.
    assert refused.get(timeout=LONG) not in first
    assert (refused.job.retries, refused.job.crashes) == (0, 0)
    assert server.process.poll() is None


def lines(folder: str) -> list[str]:
    notes = Path(folder, "notes")
    return notes.read_text().splitlines() if notes.exists() else []
