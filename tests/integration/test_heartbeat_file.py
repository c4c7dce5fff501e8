"""``--heartbeat-file`` of real workers: touched while they live, removed when they stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jobs.models import Worker
from tests.waiting import LONG

pytestmark = pytest.mark.once


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alive"


def is_touched(path: Path) -> bool:
    return path.stat().st_mtime > 0


@pytest.mark.parametrize(
    "pool",
    [("-c", "2", "--beat"), ("-P", "threads"), ("-P", "asyncio"), ("-P", "solo")],
    ids=["prefork and beat", "threads", "asyncio", "solo"],
)
def test_file_is_touched_again_and_again_and_removed_at_the_end(
    runworker: Callable[..., Any], until: Any, path: Path, pool: tuple[str, ...]
) -> None:
    worker = runworker("-Q", "default", *pool, "--heartbeat-file", str(path))
    until(lambda: is_touched(path))
    os.utime(path, (0, 0))
    until(lambda: is_touched(path))
    assert worker.stop() == 0
    assert not path.exists()


def test_killed_worker_leaves_the_file(
    runworker: Callable[..., Any], until: Any, path: Path
) -> None:
    worker = runworker("-c", "1", "--heartbeat-file", str(path))
    until(lambda: is_touched(path))
    worker.signal(signal.SIGKILL)
    worker.wait()
    assert is_touched(path)


def test_reload_keeps_the_file(runworker: Callable[..., Any], until: Any, path: Path) -> None:
    worker = runworker("-c", "1", "--heartbeat-file", str(path))
    until(lambda: is_touched(path))
    file = path.stat().st_ino
    worker.signal(signal.SIGHUP)
    until(lambda: Worker.objects.count() == 2)
    assert path.stat().st_ino == file
    os.utime(path, (0, 0))
    until(lambda: is_touched(path))
    assert worker.stop() == 0
    assert not path.exists()


def test_process_that_cannot_start_leaves_the_file_untouched(
    runworker: Callable[..., Any], until: Any, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken_settings.py").write_text(
        "from tests.settings import *\n"
        "from django_jobs.signals import worker_process_init\n"
        "import os\n"
        "worker_process_init.connect(lambda **_: os._exit(3), weak=False)\n"
    )
    arguments = ("--settings", "broken_settings", "--pythonpath", str(tmp_path))
    worker = runworker(*arguments, "-c", "1", "--beat", "--heartbeat-file", str(path))
    until(lambda: worker.output().count("worker died") == 2)
    assert Worker.objects.live().filter(pool=Worker.BEAT).exists()
    assert not is_touched(path)
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "command", [("runworker", "-c", "1", "--beat"), ("runbeat",)], ids=" ".join
)
def test_file_is_touched_while_the_database_is_away(
    until: Any, path: Path, tmp_path: Path, vendor: str, command: tuple[str, ...]
) -> None:
    where = "['NAME'] = '/no/such/folder/db'" if vendor == "sqlite" else "['PORT'] = '1'"
    (tmp_path / "away_settings.py").write_text(
        f"from tests.settings import *\nDATABASES['default']{where}\n"
    )
    settings = ("--settings", "away_settings", "--pythonpath", str(tmp_path))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *command, "--heartbeat-file", str(path), *settings],
            cwd=Path(__file__).parents[2],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: path.exists() and is_touched(path))
        os.utime(path, (0, 0))
        until(lambda: is_touched(path))
        assert "away" in (tmp_path / "log").read_text()
        process.terminate()
        assert process.wait(LONG) in (0, 1)
        assert not path.exists()
    finally:
        process.kill()
        process.wait()


@pytest.mark.django_db
def test_file_with_another_use_stops_the_start(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(CommandError, match="it is not empty"):
        call_command("runworker", "--burst", "--heartbeat-file", str(path))
    assert path.read_text() == "mine"
