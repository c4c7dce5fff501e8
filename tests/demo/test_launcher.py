"""``python -m testproject.demo``: real processes, real signals."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_jobs import Status
from testproject.airports import source
from testproject.demo import free_port, status_line
from tests import ports
from tests.management.test_jobs import make
from tests.waiting import LONG

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one database for all demos: only the first draws pictures and imports."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture
def demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{folder}/demo.sqlite3",
        "DJANGO_SETTINGS_MODULE": "testproject.settings",
        "DEMO_DIR": str(folder),
        "PORT": str(ports.free_port()),
    }
    command = [sys.executable, "-m", "testproject.demo"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        yield process
        process.terminate()
        process.communicate(timeout=LONG)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} was never printed:\n{read}")


@pytest.fixture
def started(
    demo: subprocess.Popen[str], folder: Path, until: Callable[..., None]
) -> Callable[..., str]:
    """Return what the demo told of itself, once this job has run."""

    def started(job: str = "draw_samples") -> str:
        told = read_until(demo, "Stop  ")
        until(lambda: job in (folder / "demo.log").read_text())
        return told

    return started


def children_in(told: str) -> dict[str, int]:
    return {name: int(pid) for name, pid in re.findall(r"(\w+) \(pid (\d+)\)", told)}


def living(groups: Collection[int]) -> list[str]:
    """Return the processes of these groups, without those that only wait to be reaped."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group) in groups and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


def test_site_answers_and_jobs_run(
    demo: subprocess.Popen[str], started: Callable[..., str]
) -> None:
    told = started("compare_airports")
    site = told.split("The site")[1].split()[0]
    with urllib.request.urlopen(f"{site}airports/") as response:
        assert f"{len(source.airports()):,}" in response.read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_every_process(
    demo: subprocess.Popen[str], started: Callable[..., str], number: int
) -> None:
    told = started()
    children = children_in(told)
    assert {"site", "worker"} <= set(children)
    assert living(children.values())
    assert "user admin, password admin" in told
    demo.send_signal(number)
    rest, _ = demo.communicate(timeout=LONG)
    # What the processes log would push the addresses out of sight.
    assert (demo.returncode, rest) == (0, "\ndemo: stopping …\ndemo: stopped.\n")
    assert living(children.values()) == []


@pytest.mark.parametrize("victim", ["site", "worker"])
def test_dead_child_stops_the_others(
    demo: subprocess.Popen[str], started: Callable[..., str], victim: str, until: Callable[..., Any]
) -> None:
    children = children_in(started())
    os.kill(children[victim], signal.SIGKILL)
    rest, _ = demo.communicate(timeout=LONG)
    assert f"demo: {victim} (exit code -9) has ended" in rest
    assert demo.returncode == 1
    # A killed worker's children end a moment later: nobody waits for them.
    until(lambda: living(children.values()) == [])


def test_reader_that_goes_away_leaves_no_process(
    demo: subprocess.Popen[str], started: Callable[..., str]
) -> None:
    children = children_in(started())
    demo.stdout.close()
    demo.terminate()
    demo.wait(timeout=LONG)
    assert living(children.values()) == []


@pytest.mark.django_db
def test_status_line_counts_the_jobs() -> None:
    for status in (Status.SUCCESS, Status.FAILURE, Status.SUCCESS):
        make(status)
    assert status_line() == "  Jobs         2 success, 1 failure"


def test_free_port_passes_over_one_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port
