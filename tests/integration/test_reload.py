"""HUP: a runworker starts over with the new code if that can start, else it keeps the old."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_jobs.models import Worker
from tests.integration import jobs
from tests.integration.conftest import is_alive
from tests.waiting import LONG

pytestmark = pytest.mark.once

GOOD = "from tests.settings import *\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The settings of the worker, which a test may break."""
    path = tmp_path / "reloaded_settings.py"
    path.write_text(GOOD)
    return path


@pytest.fixture
def worker(runworker: Callable[..., Any], project: Path, tmp_path: Path) -> Any:
    return runworker("-c", "1", "--settings", "reloaded_settings", "--pythonpath", str(tmp_path))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("def broken(:\n", "SyntaxError"),
        (GOOD + "import no_such_module\n", "No module named 'no_such_module'"),
        (GOOD + "DJANGO_JOBS = {'WORKR': {}}\n", "Did you mean 'WORKER'?"),
        (GOOD + "DJANGO_JOBS = {'WORKER': {'POOL': 'treads'}}\n", "treads"),
        (GOOD + "raise SystemExit(3)\n", "exit 3"),
    ],
    ids=["syntax", "import", "check", "flags", "exit"],
)
def test_code_that_cannot_start_is_not_loaded(worker, project, until, folder, broken, said) -> None:
    Path(folder, "go").touch()
    before = jobs.hold.delay(folder).get(timeout=LONG)
    project.write_text(broken)
    worker.signal(signal.SIGHUP)
    until(lambda: "not reloading" in worker.output() and said in worker.output())
    assert not worker.has_ended()
    assert jobs.hold.delay(folder).get(timeout=LONG) == before
    project.write_text(GOOD)
    worker.signal(signal.SIGHUP)
    until(lambda: Worker.objects.count() == 2)
    assert jobs.hold.delay(folder).get(timeout=LONG) != before
    assert worker.stop() == 0


def test_end_of_a_long_output_is_told(worker, project, until) -> None:
    project.write_text("print('x' * 1_000_000, end='')\nraise SystemExit(' at the end')\n")
    worker.signal(signal.SIGHUP)
    until(lambda: "xx at the end" in worker.output())
    assert len(worker.output()) < 100_000
    assert worker.stop() == 0


def hanging(project: Path, folder: str) -> None:
    project.write_text(
        "import os, pathlib, threading\n"
        f"pathlib.Path({folder!r}, 'trying').write_text(str(os.getpid()))\n"
        "threading.Event().wait()\n"
    )


def test_stop_ends_the_try(worker, project, until, folder) -> None:
    hanging(project, folder)
    worker.signal(signal.SIGHUP)
    trying = Path(folder, "trying")
    until(lambda: trying.exists() and trying.read_text())
    assert worker.stop() == 0
    assert not is_alive(int(trying.read_text()))
    assert "starting over" not in worker.output()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_try_that_hangs_ends_with_a_runworker_that_is_killed(
    worker, project, until, folder
) -> None:
    hanging(project, folder)
    worker.signal(signal.SIGHUP)
    trying = Path(folder, "trying")
    until(lambda: trying.exists() and trying.read_text())
    worker.signal(signal.SIGKILL)
    worker.wait()
    until(lambda: not is_alive(int(trying.read_text())))


def test_hangup_while_jobs_end_tries_the_code_anew(worker, project, until, folder):
    running = jobs.hold.delay(folder)
    until(lambda: running.status == "STARTED")
    worker.signal(signal.SIGHUP)
    until(lambda: "stopping: finishing what runs" in worker.output())
    project.write_text("def broken(:\n")
    worker.signal(signal.SIGHUP)
    Path(folder, "go").touch()
    until(lambda: "not reloading" in worker.output() and "SyntaxError" in worker.output())
    assert jobs.hold.delay(folder).get(timeout=LONG)
    assert running.status == "SUCCESS"
    assert "starting over" not in worker.output()
    project.write_text(GOOD)
    worker.signal(signal.SIGHUP)
    until(lambda: "starting over" in worker.output())
    assert jobs.hold.delay(folder).get(timeout=LONG)
    assert worker.stop() == 0


def test_stop_ends_the_try_that_comes_before_the_new_start(worker, project, until, folder):
    running = jobs.hold.delay(folder)
    until(lambda: running.status == "STARTED")
    worker.signal(signal.SIGHUP)
    until(lambda: "stopping: finishing what runs" in worker.output())
    hanging(project, folder)
    worker.signal(signal.SIGHUP)
    Path(folder, "go").touch()
    trying = Path(folder, "trying")
    until(lambda: trying.exists() and trying.read_text())
    assert worker.stop() == 0
    assert not is_alive(int(trying.read_text()))
    assert "starting over" not in worker.output()


def test_second_hangup_tries_the_code_anew(worker, project, until, folder) -> None:
    hanging(project, folder)
    worker.signal(signal.SIGHUP)
    trying = Path(folder, "trying")
    until(lambda: trying.exists() and trying.read_text())
    project.write_text(GOOD)
    worker.signal(signal.SIGHUP)
    until(lambda: Worker.objects.count() == 2)
    assert not is_alive(int(trying.read_text()))
    assert worker.stop() == 0
