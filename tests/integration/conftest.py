from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_jobs.models import Worker
from tests.forkserver import ROOT, ForkServer
from tests.forkserver import environment as environment_of_processes
from tests.waiting import LONG
from tests.written import written


class Runworker:
    """A ``manage.py runworker`` on the tests' database."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        until: Any,
        lease: float | None,
        grace: float | None,
        prefix: tuple[str, ...],
        server: Callable[[], ForkServer],
        gevent_server: Callable[[], ForkServer],
    ) -> None:
        environment = environment_of_processes()
        # A fork has imported the tests' settings, and no other program has started it.
        is_special = bool(prefix) or "--settings" in arguments
        if lease is not None:
            environment["TEST_LEASE_SECONDS"] = str(lease)
        if grace is not None:
            environment["TEST_GRACE_SECONDS"] = str(grace)
        self.log = tempfile.TemporaryFile("w+")
        self.until = until
        known = set(Worker.objects.values_list("pk", flat=True))
        self.process: Any
        if is_special:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "manage.py", "runworker", *arguments],
                env=environment,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        else:
            server = gevent_server if "gevent" in arguments else server
            self.process = server().start(["runworker", *arguments], environment, self.log)
        if "--burst" not in arguments:
            until(lambda: Worker.objects.exclude(pk__in=known).exists() or self.has_ended())

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = LONG) -> int:
        """Wait for the end and return the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"runworker did not end:\n{self.output()}")

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def children(self) -> list[int]:
        """Process ids of its workers and of its coordinator."""
        tasks = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in tasks.read_text().split()]

    def workers(self) -> list[int]:
        """Process ids of its workers that have registered."""
        known = set(Worker.objects.values_list("pid", flat=True))
        return [pid for pid in self.children() if pid in known]

    def output(self) -> str:
        return written(self.log)

    def clean_up(self) -> None:
        if not self.has_ended():
            for pid in self.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.log.close()


@pytest.fixture
def runworker(
    transactional_db: None,
    until: Callable[..., None],
    fork_server: Callable[[], ForkServer],
    gevent_server: Callable[[], ForkServer],
) -> Iterator[Callable[..., Runworker]]:
    """Start workers; whatever still runs at the test's end is killed."""
    started: list[Runworker] = []

    def start(
        *arguments: str,
        lease: float | None = None,
        grace: float | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Runworker:
        worker = Runworker(arguments, until, lease, grace, prefix, fork_server, gevent_server)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.clean_up()


@pytest.fixture
def notes(tmp_path: Path) -> Callable[[], list[str]]:
    """Return the lines that job functions noted in the test's folder."""

    def notes() -> list[str]:
        path = tmp_path / "notes"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    return notes


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
