"""Workflows of about 500 jobs in workers that are SIGKILLed, one process a half second.

Each must result in what a direct evaluation says, every step after what it depends on, and every
fan-in counted once. ``SECONDS`` in the environment is how long it takes (60).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import django

SHARED = 4
KILL_SECONDS = 0.5
SIZE = 500
#: A supervisor is killed with all its children once in so many kills.
WHOLE = 10
LEASE_SECONDS = "2"

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    django.setup()
    from django.db import connection

    seconds = int(os.environ.get("SECONDS", "60"))
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        return torture(seconds)
    finally:
        connection.close()
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def torture(seconds: int) -> int:
    from django_jobs.models import Job

    chance = random.Random(seconds)
    worker = start_worker()
    kills, wanted = 0, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if Job.objects.live().count() < SIZE:
            wanted.append(enqueue(chance))
        time.sleep(KILL_SECONDS)
        kills += 1
        worker = kill(worker, chance, whole=kills % WHOLE == 0)
    late = time.monotonic() + 120
    while Job.objects.live().exists() and time.monotonic() < late:
        time.sleep(0.2)
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    return judge(wanted, kills)


def start_worker() -> subprocess.Popen[bytes]:
    from django.db import connection

    environment = {
        **os.environ,
        "TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "TEST_LEASE_SECONDS": LEASE_SECONDS,
    }
    command = [sys.executable, "manage.py", "runworker", "-c", str(SHARED), "-l", "CRITICAL"]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.DEVNULL)


def kill(
    worker: subprocess.Popen[bytes], chance: random.Random, *, whole: bool
) -> subprocess.Popen[bytes]:
    """Kill a worker process, or all with the supervisor and start others; return the supervisor."""
    found = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    children = [int(pid) for pid in found]
    for pid in children if whole else chance.sample(children, k=min(1, len(children))):
        with contextlib.suppress(ProcessLookupError):  # it ended after it was listed
            os.kill(pid, signal.SIGKILL)
    if not whole:
        return worker
    worker.kill()
    worker.wait()
    return start_worker()


def enqueue(chance: random.Random) -> tuple[Any, Any]:
    """Enqueue a random workflow; return its handle and what it must result in."""
    from django_jobs import chain, group
    from tests.integration import jobs

    links: list[Any] = [jobs.step.s(0)]
    value, left = 1, SIZE
    while left > 0:
        members = chance.randint(1, 150)
        length = chance.randint(1, 3)
        links.append(group(chain([jobs.step.s()] * length) for _ in range(members)))
        links.append(jobs.gather.s())
        value = members * (value + length)
        value %= 2**62
        left -= members * length
        if value > 2**40:
            links.append(jobs.step.si(0))
            value = 1
    return chain(links).apply_async(), value


def judge(wanted: list[tuple[Any, Any]], kills: int) -> int:
    from django.db import connection

    from django_jobs.exceptions import WorkerLost
    from django_jobs.models import Edge, Job

    wrong, lost = 0, 0
    for result, value in wanted:
        try:
            wrong += result.get(timeout=0) != value
        except WorkerLost:  # killed three times while it ran
            lost += 1
        except Exception as error:
            sys.stdout.write(f"{result}: {error!r}\n")
            wrong += 1
    ended = dict(Job.objects.values_list("pk", "ended_at"))
    rows = Job.objects.filter(status="SUCCESS").values_list("pk", "started_at")
    began = dict(rows)
    early = sum(
        began[child] < ended[parent]
        for parent, child in Edge.objects.values_list("parent_id", "child_id")
        if child in began
    )
    stuck = Job.objects.live().count()
    miscounted = Job.objects.filter(status="SUCCESS").exclude(pending_parents=0).count()
    sys.stdout.write(
        f"{connection.vendor}: {len(wanted)} workflows, {len(ended):,} jobs, {kills} kills; "
        f"{wrong} wrong, {stuck} stuck, {early} early, {miscounted} miscounted; {lost} ended "
        "WorkerLost\n"
    )
    return int(bool(wrong or stuck or early or miscounted))


if __name__ == "__main__":
    sys.exit(main())
