"""One measurement of one system: its workers, its producers, and the file that its jobs write."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import processes
from .body import RECORD
from .producer import PROBES
from .servers import Server

ROOT = Path(__file__).resolve().parent.parent
#: A measurement fails after this many seconds without a running job.
STALLED_SECONDS = 60.0
_STOP_SECONDS = 15.0


class Failed(Exception):
    """A measurement without a result."""


@dataclasses.dataclass(frozen=True)
class Pool:
    """How one process runs jobs, and which: no-op jobs, or jobs that wait some *seconds*."""

    name: str = "prefork"
    #: Jobs at a time in each process; 0 is the default of the pool.
    slots: int = 0
    seconds: float = 0.0
    #: Jobs of a measurement; 0 is the number of the case.
    jobs: int = 0

    @property
    def missing(self) -> str:
        """Why this pool cannot be measured here, or nothing."""
        if self.name not in _offered_pools():
            return f"{self.name} pool: left out, this django_jobs has none"
        if self.name == "gevent" and importlib.util.find_spec("gevent") is None:
            return "gevent pool: left out, install gevent to measure it"
        return ""

    def __str__(self) -> str:
        slots = f", {self.slots:,} slots" if self.slots else ""
        return self.name + slots + (f" × {self.seconds * 1000:,.0f} ms" if self.seconds else "")


@functools.cache
def _offered_pools() -> list[str]:
    # In a process of its own: this one has no settings.
    code = "import django; django.setup(); from django_jobs.worker.options import POOLS; "
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    done = subprocess.run(  # noqa: S603 (constants)
        [sys.executable, "-c", code + "print(*POOLS)"], env=environment, cwd=ROOT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A system in one configuration. *database_url* is the database for the ORM in job bodies."""

    system: str
    server: Server
    database_url: str
    workers: int = 2
    pool: Pool = Pool()
    python: str = sys.executable

    @property
    def label(self) -> str:
        name = {"bare": "bare SQL", "celery": "Celery"}.get(self.system, self.system)
        pool = "" if self.pool == Pool() else f" {self.pool}"
        return f"{name}, {self.server.kind} × {self.workers}{pool}"

    def commands(self) -> list[list[str]]:
        """Return the commands that start the workers."""
        count = str(self.workers)
        if self.system == "bare":
            return [["-m", "benchmarks.bare"]] * self.workers
        if self.system == "celery":
            celery = ["-m", "celery", "-A", "benchmarks.celery_app", "worker"]
            return [[*celery, "-c", count, "-l", "WARNING"]]
        pool = self.pool
        each = {"prefork": ["-c", count], "solo": []}.get(pool.name, ["--processes", count])
        slots = ["-c", str(pool.slots)] if pool.slots else []
        queues = ["--exclude-queues", "coroutines"] if pool.name == "gevent" else []
        command = ["-m", "django", "runworker", "-P", pool.name, *each, *slots, *queues]
        return [[*command, "-l", "WARNING"]]


class Arena:
    """Runs the processes of one measurement and reads the file of its jobs."""

    def __init__(self, contestant: Contestant, folder: Path, *, fresh: bool = True) -> None:
        self.contestant = contestant
        self.folder = folder
        if fresh:
            contestant.server.reset()
        handle, name = tempfile.mkstemp(prefix="notes-", dir=folder)
        os.close(handle)
        self.notes = Path(name)
        self.log = folder / "worker.log"
        self.running: list[subprocess.Popen[bytes]] = []
        #: Variables of the environment that only the workers get: a server that is far away.
        self.workers_environment: dict[str, str] = {}
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "BENCHMARK_NOTES": name,
            "DATABASE_URL": contestant.database_url,
            "REDIS_URL": contestant.server.url if contestant.server.kind == "redis" else "",
        }

    def again(self, *, fresh: bool) -> Arena:
        """Return another measurement of the same system; without *fresh*, it keeps the rows."""
        return Arena(self.contestant, self.folder, fresh=fresh)

    def produce(self, operation: str, *arguments: object) -> dict[str, Any]:
        """Run a producer to its end and return its measurements."""
        contestant = self.contestant
        command = [contestant.python, "-m", "benchmarks.producer", contestant.system, operation]
        done = subprocess.run(  # noqa: S603 (the harness's own process)
            [*command, *map(str, arguments)],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"the producer failed: {done.stderr[-1000:]}")
        measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return measured

    @contextlib.contextmanager
    def workers(self, warm: bool = True) -> Iterator[list[int]]:
        """Start the workers and, by default, wait until they run jobs; stop them at the end."""
        try:
            with self.log.open("wb") as log:
                for command in self.contestant.commands():
                    self.running.append(
                        subprocess.Popen(  # noqa: S603 (the measured systems' own commands)
                            [self.contestant.python, *command], cwd=ROOT, stdout=log, stderr=log,
                            env=self.environment | self.workers_environment,
                            start_new_session=True,
                        )
                    )  # fmt: skip
            if warm:
                self.produce("probe")
                self.wait_for(10)
            yield [process.pid for process in self.running]
        finally:
            self._stop()

    def wait_for(self, runs: int) -> None:
        """Wait until this many jobs have started."""
        seen, since = 0, time.monotonic()
        while seen < runs:
            time.sleep(0.01)
            noted = self.noted()
            if noted != seen:
                seen, since = noted, time.monotonic()
            elif time.monotonic() - since > STALLED_SECONDS:
                raise Failed(f"{seen} of {runs} jobs ran, then none for {STALLED_SECONDS:.0f} s")
            if any(process.poll() is not None for process in self.running):
                raise Failed(f"a worker ended by itself: {self.log.read_text()[-1000:]}")

    def noted(self) -> int:
        """Return how many jobs have started."""
        return self.notes.stat().st_size // RECORD.size

    def wait_until_recorded(self) -> None:
        """Wait until the end of every job is recorded."""
        if self.contestant.system not in ("bare", "django_jobs"):
            return
        deadline = time.monotonic() + STALLED_SECONDS
        while unfinished := self.contestant.server.unfinished():
            if time.monotonic() > deadline:
                raise Failed(f"{unfinished} jobs ran whose end was never recorded")
            time.sleep(0.05)

    def runs(self) -> dict[int, int]:
        """Return the start of each job by its number, in nanoseconds of the wall clock."""
        records = list(RECORD.iter_unpack(self.notes.read_bytes()))
        begun = {number: at for number, at in records if number < PROBES}
        if len(begun) != sum(number < PROBES for number, _ in records):
            raise Failed("a job ran twice")
        return begun

    def process_ids(self) -> list[int]:
        """Return all processes of the workers."""
        return [pid for process in self.running for pid in processes.tree(process.pid)]

    def _stop(self) -> None:
        for process in self.running:
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            # Kill the remaining processes of this measurement's own process group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running.clear()
