"""The site that a scenario tortures: its database, its workers, what is done to them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.torture import ledger
from tests.torture.servers import SERVERS, Server, is_alive

ROOT = Path(__file__).parents[2]
#: Longest wait for what must come: a scenario that hangs ends, and says so.
LONG = 120.0


class LeftOut(Exception):
    """The scenario cannot be played here; the message says why."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is done to the site, so many seconds after the scenario's start."""

    at: float
    kind: str
    #: Chooses the victim among those that live at that time.
    which: int = 0

    def __str__(self) -> str:
        return f"{self.at:.2f} s {self.kind} {self.which}"


class Runworker:
    """A ``manage.py runworker``."""

    def __init__(self, site: Site, number: int, arguments: Sequence[str], **environment: str):
        self.log = site.folder / f"runworker-{number}.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*site.python, "-m", "django", "runworker", *arguments],
                env={**site.environment, **environment}, cwd=site.folder, process_group=0,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        """Process ids of its workers and of its coordinator."""
        tasks = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        try:
            return [int(pid) for pid in tasks.read_text().split()]
        except OSError:
            return []

    def workers(self) -> list[int]:
        """Process ids of its workers that have registered."""
        from django_jobs.models import Worker

        live = Worker.objects.filter(stopped_at=None, lost_at=None)
        known = set(live.values_list("pid", flat=True))
        return [pid for pid in self.children() if pid in known]

    def stop(self, number: int = signal.SIGTERM, seconds: float = LONG) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -999  # it hung

    def kill(self) -> None:
        """Kill it with all its children, as the end of its host does."""
        pids = [self.pid, *self.children()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for pid in pids:
            ledger.write("killed", victim=pid)
        while any(map(is_alive, pids)):
            time.sleep(0.005)


class Site:
    """All that a scenario needs; :func:`play` makes one and cleans up after it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = os.environ["TORTURE_KIND"]
        self.folder = Path(os.environ["TORTURE_FOLDER"])
        self.server: Server = SERVERS[self.kind](Path(os.environ["TORTURE_SERVER"]))
        self.seed = int(os.environ["TORTURE_SEED"])
        self.is_fast = bool(os.environ.get("TORTURE_FAST"))
        self.chance = random.Random(f"{name} {self.seed}")
        self.ledger = Path(os.environ["TORTURE_LEDGER"])
        self.python: list[str] = [sys.executable]
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.runworkers: list[Runworker] = []
        #: Other programs that must not outlive the scenario.
        self.programs: list[subprocess.Popen[Any]] = []
        self.began = time.monotonic()
        #: Process ids that were stopped past their lease, so that others may have their jobs.
        self.zombies: set[int] = set()
        self.faults: list[Fault] = []
        self._started = 0
        self._enqueuers: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._stop_enqueuing = threading.Event()

    # --- settings -------------------------------------------------------------------------------

    def pick(self, fast: Any, full: Any) -> Any:
        return fast if self.is_fast else full

    def settings(self, **jobs: Any) -> None:
        """Set ``DJANGO_JOBS`` for this process, and for those that are started from now on."""
        from django.conf import settings
        from django.test import override_settings

        override_settings(DJANGO_JOBS=settings.DJANGO_JOBS | jobs).enable()
        given = json.loads(self.environment.get("TORTURE_JOBS", "{}"))
        self.environment["TORTURE_JOBS"] = json.dumps(given | jobs)

    def use(self, **database: Any) -> None:
        """Let this process, and those that are started from now on, use that *database*.

        The words are those of Django's ``DATABASES``.
        """
        from django.db import connections

        connections["default"].close()
        # Each thread's connection has this dictionary.
        connections["default"].settings_dict |= database
        self.environment["TORTURE_DATABASE"] = json.dumps(database)

    def needs_server(self) -> None:
        if self.kind == "sqlite":
            raise LeftOut("SQLite is a library: there is no server between it and a worker")

    # --- processes ------------------------------------------------------------------------------

    def runworker(self, *arguments: str, **environment: str) -> Runworker:
        self._started += 1
        worker = Runworker(self, self._started, arguments, **environment)
        self.runworkers.append(worker)
        return worker

    def wait_for_workers(self, number: int) -> None:
        from django_jobs.models import Worker

        def are_live() -> bool:
            ended = [worker.process.poll() for worker in self.runworkers]
            if any(code is not None for code in ended):
                raise TimeoutError(f"a runworker ended with {ended}")
            return bool(Worker.objects.live().count() >= number)

        self.until(are_live, f"{number} workers live")

    def until(self, condition: Callable[[], Any], what: str, seconds: float = LONG) -> Any:
        """Wait until *condition* returns something true; return that."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so after {seconds:.0f} s: {what}")
            time.sleep(0.02)
        return found

    def stop_workers(self) -> list[int]:
        """Stop all of them warmly; return their exit codes."""
        running = [worker for worker in self.runworkers if worker.process.poll() is None]
        for worker in running:
            self.until(lambda w=worker: w.workers() or w.process.poll() is not None, "it is ready")
            worker.process.send_signal(signal.SIGTERM)
        return [worker.process.wait(LONG) for worker in running]

    # --- jobs -----------------------------------------------------------------------------------

    def enqueue(self, function: Any, *args: Any) -> None:
        """Enqueue one call; the ledger knows whether it was acknowledged."""
        result = function.delay(*args)
        ledger.write("ack", id=str(result.id))

    def enqueue_many(self, function: Any, calls: Iterable[tuple[Any, ...]]) -> None:
        for result in function.delay_many(calls):
            ledger.write("ack", id=str(result.id))

    def keep_enqueuing(
        self, rate: float, calls: Sequence[tuple[Any, ...]], **database: Any
    ) -> None:
        """Let a thread enqueue *calls*, chosen at random, until :meth:`stop_enqueuing`.

        *database* changes its connection's settings. While the database is away it tries again: a
        call whose answer was lost is not acknowledged.
        """
        chance = random.Random(f"{self.seed} {len(self._enqueuers)}")

        def run() -> None:
            from django.db import Error, connection

            connection.settings_dict = {**connection.settings_dict, **database}
            due = time.monotonic()
            while not self._stop_enqueuing.wait(max(0.0, due - time.monotonic())):
                due = max(due + 1 / rate, time.monotonic() - 1.0)
                function, *args = chance.choice(calls)
                try:
                    self.enqueue(function, *(a(chance) if callable(a) else a for a in args))
                except Error:
                    ledger.write("unsure")
                    connection.close()
            connection.close()

        def told() -> None:
            try:
                run()
            except BaseException as error:
                self._failures.append(error)
                raise

        thread = threading.Thread(target=told, daemon=True)
        self._enqueuers.append(thread)
        thread.start()

    def stop_enqueuing(self) -> None:
        self._stop_enqueuing.set()
        for thread in self._enqueuers:
            thread.join(LONG)
        if self._failures:
            raise RuntimeError("nothing was enqueued any more") from self._failures[0]
        self._enqueuers.clear()
        self._stop_enqueuing.clear()

    def wait_for_the_end(self, seconds: float = LONG) -> None:
        """Wait until every job has ended; the checker tells those that have not."""
        from django_jobs.models import Job

        with contextlib.suppress(TimeoutError):
            self.until(lambda: not Job.objects.live().exists(), "every job has ended", seconds)

    # --- faults ---------------------------------------------------------------------------------

    def schedule(self, make: Callable[[], list[Fault]]) -> list[Fault]:
        """Return the faults of this run: those that *make* chooses, or those that are given."""
        given = os.environ.get("TORTURE_FAULTS")
        faults = [Fault(*each) for each in json.loads(given)] if given else make()
        self.faults = sorted(faults, key=lambda fault: fault.at)
        (self.folder / "faults.json").write_text(
            json.dumps([dataclasses.astuple(fault) for fault in self.faults])
        )
        return self.faults

    def follow(self, actions: dict[str, Callable[[int], object]], meanwhile: Any = None) -> None:
        """Do the faults of the schedule at their times; call *meanwhile* in between."""
        self.began = time.monotonic()
        for fault in self.faults:
            while (left := self.began + fault.at - time.monotonic()) > 0:
                if meanwhile is not None:
                    meanwhile()
                time.sleep(min(left, 0.1))
            ledger.write("fault", what=str(fault))
            actions[fault.kind](fault.which)

    def kill_worker(self, which: int) -> None:
        """SIGKILL one process that runs jobs; its supervisor lives on."""
        pids = [pid for worker in self.runworkers for pid in worker.children()]
        if pids:
            self.kill_process(pids[which % len(pids)])

    def kill_process(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            ledger.write("killed", victim=pid)

    def kill_runworker(self, which: int) -> None:
        """SIGKILL a supervisor with its processes, and start another one."""
        number = which % len(self.runworkers)
        old = self.runworkers.pop(number)
        arguments = list(old.process.args)  # type: ignore[arg-type]
        old.kill()
        self.runworker(*arguments[len(self.python) + 3 :])

    def crash_database(self, which: int = 0) -> None:
        self.server.crash()
        ledger.write("crash")
        self.server.start()

    def restart_database(self, which: int = 0) -> None:
        self.server.stop()
        ledger.write("crash")
        self.server.start()

    def ends_of_logs(self) -> str:
        """Return the last lines of each worker's log, to tell why nothing went on."""
        logs = [worker.log for worker in self.runworkers]
        return "".join(f"--- {log.name}\n{log.read_text()[-3000:]}\n" for log in logs)

    def clean_up(self) -> None:
        self._stop_enqueuing.set()
        for program in self.programs:
            program.kill()
            program.wait()
        for worker in self.runworkers:
            for pid in [worker.pid, *worker.children()]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            if worker.process.poll() is None:
                worker.kill()
