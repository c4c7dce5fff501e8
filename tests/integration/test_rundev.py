"""``manage.py rundev``: real sites, workers and beats that come, reload and go together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from django_jobs.models import Worker
from tests.integration import jobs
from tests.ports import free_port
from tests.waiting import LONG
from tests.written import written

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="it reads /proc"),
]

ROOT = Path(__file__).parents[2]
MARK = "TEST_RUNDEV"


class Rundev:
    """A ``manage.py rundev``; every process that it starts has its mark in the environment."""

    def __init__(self, project: Path, port: int, *arguments: str, stdout: int = -1) -> None:
        """It writes to a file of its own, or to the descriptor *stdout*."""
        self.mark = uuid.uuid4().hex
        self.port = port
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "rundev", str(port), *arguments,
             "--settings", "store_settings", "--pythonpath", str(project)],
            env={
                **os.environ,
                "TEST_DATABASE_NAME": str(connections["default"].settings_dict["NAME"]),
                MARK: self.mark,
            },
            stdin=subprocess.DEVNULL,
            stdout=self.log if stdout < 0 else stdout,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip

    def ctrl_c(self) -> None:
        """Send what a terminal sends: a signal to the whole group of processes."""
        os.killpg(self.process.pid, signal.SIGINT)

    def output(self) -> str:
        return written(self.log)

    def lines(self, name: str) -> list[str]:
        """The lines of one part."""
        lines = (line.partition("|") for line in self.output().splitlines())
        return [text.strip() for who, _bar, text in lines if who.strip() == name]

    def says(self, name: str, text: str) -> bool:
        return any(text in line for line in self.lines(name))

    def get(self, path: str) -> int:
        """Return the status of a page of the site; 0 if the site does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=LONG
            ) as page:
                return int(page.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def pids(self) -> list[int]:
        """The live processes with the mark."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"{MARK}={self.mark}".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def worker_pid(self) -> int:
        (line,) = [line for line in self.lines("worker") if "django_jobs worker" in line][-1:]
        return int(line.rpartition("pid ")[2].rstrip(")"))

    def wait(self) -> int:
        return self.process.wait(LONG)

    def clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.log.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "__init__.py").touch()
    (tmp_path / "store" / "jobs.py").touch()
    (tmp_path / "store_settings.py").write_text(
        "from tests.settings import *\n"
        "DEBUG = True\n"
        "INSTALLED_APPS = [*INSTALLED_APPS, 'store']\n"
        "DJANGO_JOBS = {'HEALTH_URLS': True}\n"
    )
    return tmp_path


@pytest.fixture
def rundev(transactional_db: None, project: Path) -> Iterator[Callable[..., Rundev]]:
    started: list[Rundev] = []

    def start(*arguments: str, port: int | None = None, stdout: int = -1) -> Rundev:
        started.append(Rundev(project, port or free_port(), *arguments, stdout=stdout))
        return started[-1]

    yield start
    for each in started:
        each.clean_up()


@pytest.fixture
def running(rundev: Callable[..., Rundev], until: Any) -> Rundev:
    started = rundev("-c", "1")
    until(lambda: started.get("/jobs/health/ready") == 200 or started.process.poll() is not None)
    until(lambda: started.says("beat", "beat ready") or started.process.poll() is not None)
    assert started.process.poll() is None, started.output()
    return started


def test_site_worker_and_beat_run_and_ctrl_c_ends_all(
    running: Rundev, folder: str, until: Any
) -> None:
    job = jobs.hold.delay(folder)
    until(lambda: job.status == "STARTED")
    assert {worker.pool for worker in Worker.objects.live()} == {"prefork", "beat"}
    assert running.says("worker", "worker ready")
    assert not running.says("worker", "beat ready")
    until(lambda: running.says("site", "evelopment server"))
    assert len(running.pids()) >= 6
    running.ctrl_c()
    until(lambda: running.says("worker", "stopping: finishing what runs"))
    Path(folder, "go").touch()
    assert running.wait() == 0, running.output()
    assert running.pids() == []
    assert job.status == "SUCCESS"
    assert not Worker.objects.live().exists()


def test_end_of_the_reader_ends_all(rundev: Callable[..., Rundev]) -> None:
    reading, writing = os.pipe()
    started = rundev("-c", "1", stdout=writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as reader:
        assert "django_jobs development" in reader.readline()
    assert started.wait() == 0
    assert started.pids() == []


def test_change_reloads_the_site_and_the_worker(
    running: Rundev, project: Path, until: Any, folder: str
) -> None:
    Path(folder, "go").touch()
    before = jobs.hold.delay(folder).get(timeout=LONG)
    code = project / "store" / "jobs.py"
    code.write_text("def broken(:\n")
    until(lambda: running.says("worker", "not reloading"))
    assert jobs.hold.delay(folder).get(timeout=LONG) == before
    code.write_text("")
    until(lambda: running.says("worker", "starting over"))
    until(lambda: jobs.hold.delay(folder).get(timeout=LONG) != before)
    until(lambda: sum("beat ready" in line for line in running.lines("beat")) == 2)
    # Django's reloader overlooks a change between its import and its first look: save again then.
    until(lambda: running.get("/jobs/health/live") == 200 or code.touch())
    assert running.says("site", "changed, reloading")
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 0
    assert running.pids() == []


def test_part_that_ends_after_a_change_starts_again_after_the_next(
    running: Rundev, project: Path, until: Any
) -> None:
    code = project / "store" / "jobs.py"
    code.write_text("x = 1\n")
    until(lambda: running.says("worker", "starting over"))
    until(lambda: Worker.objects.live().count() == 2)
    os.kill(running.worker_pid(), signal.SIGKILL)
    until(lambda: running.says("rundev", "starts again when a file changes"))
    assert running.get("/jobs/health/live") == 200
    before = running.worker_pid()
    code.write_text("x = 2\n")
    until(lambda: running.worker_pid() != before)
    running.ctrl_c()
    assert running.wait() == 0
    assert running.pids() == []


def test_second_ctrl_c_stops_a_running_job(running: Rundev, folder: str, until: Any) -> None:
    job = jobs.hold.delay(folder)
    until(lambda: job.status == "STARTED")
    running.ctrl_c()
    until(lambda: running.says("worker", "stopping: finishing what runs"))
    running.ctrl_c()
    assert running.wait() == 0
    assert running.pids() == []
    assert job.status == "PENDING"


def test_part_that_cannot_start_ends_all(rundev: Callable[..., Rundev], running: Rundev) -> None:
    other = rundev(port=running.port)
    assert other.wait() == 1, other.output()
    assert other.says("site", "already in use")
    assert other.says("rundev", "site ended (exit code 1), so all end.")
    assert other.pids() == []
    assert running.process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_rundev_that_is_killed_leaves_no_process(running: Rundev, until: Any) -> None:
    running.process.kill()
    running.wait()
    until(lambda: running.pids() == [])


def test_program_cannot_call_it() -> None:
    with pytest.raises(CommandError, match="a program cannot call it"):
        call_command("rundev")
