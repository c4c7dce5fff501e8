"""I9: eight workers, killed at random, never exceed a limit and leave no job waiting.

``SECONDS`` in the environment is how long jobs come (60). What ran when is read from the rows: the
starts of each rate in any window, as recorded, and whether two ran at once under ``concurrency=1``:
each job holds the lock of a file, which a killed one leaves.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import Any

import django

WORKERS = 8
KILL_SECONDS = 4.0
# What tests.settings reads, so that the jobs of a killed worker come back soon.
LEASE_SECONDS = "6"

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    django.setup()
    from django.db import connection

    seconds = int(os.environ.get("SECONDS", "60"))
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return torture(seconds, Path(folder))
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def torture(seconds: int, folder: Path) -> int:
    from django.db import connection

    name = str(connection.settings_dict["NAME"])
    workers = [start_worker(name) for _ in range(WORKERS)]
    chance = random.Random(9)
    kills, kill_at = 0, time.monotonic() + KILL_SECONDS
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        enqueue(chance, str(folder))
        time.sleep(0.5)
        if time.monotonic() >= kill_at:
            kill_at += KILL_SECONDS
            kills += kill(chance, workers, name)
    left = wait_for_the_end()
    for worker in workers:
        wait_for_its_signal_handlers(worker.pid)
        worker.send_signal(signal.SIGTERM)
    codes = {worker.wait(60) for worker in workers}
    return judge(folder, kills, left, codes)


def kill(chance: random.Random, workers: list[subprocess.Popen[bytes]], name: str) -> int:
    """Kill a worker's process, which its supervisor replaces, or the supervisor and so both."""
    number = chance.randrange(WORKERS)
    pid = workers[number].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if children and chance.random() < 0.5:
        with contextlib.suppress(ProcessLookupError):  # it ended after it was listed
            os.kill(int(children[0]), signal.SIGKILL)
        return 1
    workers[number].kill()
    workers[number].wait()
    workers[number] = start_worker(name)
    return 1


def start_worker(name: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ, "TEST_DATABASE_NAME": name, "TEST_LEASE_SECONDS": LEASE_SECONDS,
    }  # fmt: skip
    command = [sys.executable, "manage.py", "runworker", "-c", "1", "-l", "critical"]
    return subprocess.Popen(
        command, env=environment, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_its_signal_handlers(pid: int, longest: float = 60) -> None:
    """A process that still imports Django dies of TERM: the replacement of a worker just killed."""
    deadline = time.monotonic() + longest
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1):
            return
        time.sleep(0.1)


def enqueue(chance: random.Random, folder: str) -> None:
    from tests.integration import jobs

    jobs.exclusive.delay_many((folder, chance.randrange(5)) for _ in range(6))
    jobs.rated.delay_many([()] * 4)
    jobs.rated_by_key.delay_many((chance.randrange(2),) for _ in range(2))


def wait_for_the_end(longest: float = 300) -> int:
    from django_jobs.models import Job

    deadline = time.monotonic() + longest
    while (left := Job.objects.live().count()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def judge(folder: Path, kills: int, left: int, codes: set[int]) -> int:
    from django.db import connection

    from django_jobs.models import Attempt, Job, Permit

    starts: dict[Any, list[float]] = defaultdict(list)
    for row in Job.objects.filter(name__startswith="tests.integration.jobs.rated"):
        key = row.args[0] if row.args else None
        if row.started_at is not None:
            starts[key].append(row.started_at.timestamp())
        starts[key] += [
            attempt.started_at.timestamp()
            for attempt in Attempt.objects.filter(job_id=row.pk, started_at__isnull=False)
        ]
    most = {str(key): fullest(sorted(times), 1.0) for key, times in starts.items()}
    notes = folder / "notes"
    overlaps = notes.read_text().count("overlap") if notes.exists() else 0
    permits = Permit.objects.count()
    ended = Job.objects.filter(status="SUCCESS").count()
    crashed = Job.objects.filter(status="FAILURE").count()
    sys.stdout.write(
        f"{connection.vendor}: {ended:,} jobs succeeded, {crashed} in too many crashes, {kills} "
        f"kills; left {left}, most starts in a second {most} (20 and 5 allowed), overlaps "
        f"{overlaps}, permits left {permits}, exit codes {sorted(codes)}\n"
    )
    exceeded = any(number > (20 if key == "None" else 5) for key, number in most.items())
    return int(bool(left or exceeded or overlaps or permits or codes != {0}))


def fullest(starts: list[float], seconds: float) -> int:
    """The most of the sorted *starts* in any window of so many seconds."""
    return max(bisect_left(starts, start + seconds) - number for number, start in enumerate(starts))


if __name__ == "__main__":
    sys.exit(main())
