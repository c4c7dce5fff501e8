"""T10: two to four beats, one SIGKILLed every half second, twenty schedules of one second.

Every tick must be there once and never early, by the database's own times in the rows.
``SECONDS`` in the environment is how long it takes (600: 12,000 ticks).
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from statistics import quantiles

import django

from tests.torture.limits import wait_for_its_signal_handlers

SCHEDULES = 20
KILL_SECONDS = 0.5
FEWEST, MOST = 2, 4
#: Seconds in which the last ticks are fired, at the latest.
LONG = 60.0

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    django.setup()
    from django.db import connection

    seconds = int(os.environ.get("SECONDS", "600"))
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        return torture(seconds)
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def torture(seconds: int) -> int:
    from django.db import connection

    from django_jobs.beat import loop  # loaded once, for all that are forked

    start = make_schedules(seconds)
    connection.close()
    beats: set[int] = set()
    kills = 0
    chance = random.Random(10)
    end = time.monotonic() + (start - now()).total_seconds() + seconds + 3
    while time.monotonic() < end:
        while len(beats) < chance.randint(FEWEST, MOST):
            beats.add(start_beat(loop.run))
        time.sleep(KILL_SECONDS)
        victim = chance.choice(sorted(beats))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        beats.discard(victim)
        kills += 1
    wait_for_the_last_ticks(SCHEDULES * seconds)
    for pid in beats:
        wait_for_its_signal_handlers(pid)
        os.kill(pid, signal.SIGTERM)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in beats]
    return judge(start, seconds, kills, codes)


def wait_for_the_last_ticks(number: int) -> None:
    """Wait until there are *number* jobs: where the machine is busy the beats fire late."""
    from django_jobs.models import Job

    deadline = time.monotonic() + LONG
    while Job.objects.count() < number and time.monotonic() < deadline:
        time.sleep(0.1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def make_schedules(seconds: int) -> datetime.datetime:
    from django_jobs.models import Schedule

    start = now().replace(microsecond=0) + datetime.timedelta(seconds=3)
    for number in range(SCHEDULES):
        Schedule.objects.create(
            name=f"every second {number}",
            job_name="tests.jobs.add",
            args=[number],
            kind="interval",
            interval_seconds=1,
            starts_at=start,
            ends_at=start + datetime.timedelta(seconds=seconds - 0.5),
            missed="all",
            missed_limit=1000,
        )
    return start


def start_beat(run: Callable[[str], int]) -> int:
    """Fork a beat: it is a real process, and Django need not be loaded twice a second."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    with contextlib.suppress(BaseException):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
        logging.disable(logging.WARNING)
        if os.getppid() == parent:
            code = run("default")
    os._exit(code)


def judge(start: datetime.datetime, seconds: int, kills: int, codes: list[int]) -> int:
    from django.db import connection

    from django_jobs.models import Job, Schedule

    rows = list(Job.objects.values_list("schedule_id", "run_at", "ready_at"))
    found = Counter((schedule, tick) for schedule, tick, _ready in rows)
    expected = {
        (pk, start + datetime.timedelta(seconds=n))
        for pk in Schedule.objects.values_list("pk", flat=True)
        for n in range(seconds)
    }
    missing = len(expected - set(found))
    double = sum(number - 1 for number in found.values())
    strange = len(set(found) - expected)
    lags = sorted((ready - tick).total_seconds() for _pk, tick, ready in rows)
    early = sum(lag < 0 for lag in lags)
    cut = quantiles(lags, n=100) if len(lags) > 1 else [0.0] * 99
    sys.stdout.write(
        f"{connection.vendor}: {len(expected):,} ticks, {kills:,} kills; missing {missing}, "
        f"double {double}, early {early}, never planned {strange}; late p50 {cut[49]:.3f} s, "
        f"p99 {cut[98]:.3f} s, longest {lags[-1] if lags else 0:.3f} s; "
        f"exit codes of the last {sorted(set(codes))}\n"
    )
    return int(any((missing, double, early, strange, *codes)))


if __name__ == "__main__":
    sys.exit(main())
