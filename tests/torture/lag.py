"""How late ticks are with 100 due a second: spread over the second among 10,000, and all at once.

``SECONDS`` in the environment is how long each takes (30). Both must keep p99 within 100 ms.
"""

from __future__ import annotations

import datetime
import os
import signal
import sys
import time
from statistics import quantiles

import django

from tests.torture.beats import now, start_beat

RATE = 100
ALL = 10_000
LONGEST_P99 = 0.1

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    django.setup()
    from django.db import connection

    seconds = int(os.environ.get("SECONDS", "30"))
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        failed = measure("spread, 10,000 schedules", seconds, ALL, ALL / RATE, 1 / RATE)
        failed |= measure("100 at the same moment", seconds, RATE, 1.0, 0.0)
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)
    return int(failed)


def measure(what: str, seconds: int, number: int, interval: float, step: float) -> bool:
    """Run one beat over *number* schedules; return whether it was too late."""
    from django.db import connection

    from django_jobs.beat import loop
    from django_jobs.models import Job, Schedule

    Schedule.objects.all().delete()
    Job.objects.all().delete()
    start = now() + datetime.timedelta(seconds=5)
    Schedule.objects.bulk_create(
        Schedule(
            name=f"s{n}",
            job_name="tests.jobs.add",
            args=[n],
            kind="interval",
            interval_seconds=interval,
            next_run_at=start + datetime.timedelta(seconds=n * step),
        )
        for n in range(number)
    )
    connection.close()
    pid = start_beat(loop.run)
    time.sleep((start - now()).total_seconds() + seconds)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    rows = Job.objects.values_list("run_at", "ready_at")
    lags = sorted((ready - tick).total_seconds() for tick, ready in rows)
    cut = quantiles(lags, n=100)
    sys.stdout.write(
        f"{connection.vendor}: {what}: {len(lags):,} ticks in {seconds} s; late p50 "
        f"{cut[49] * 1000:.0f} ms, p95 {cut[94] * 1000:.0f} ms, p99 {cut[98] * 1000:.0f} ms, "
        f"longest {lags[-1] * 1000:.0f} ms\n"
    )
    sys.stdout.flush()
    return cut[98] > LONGEST_P99 or lags[0] < 0


if __name__ == "__main__":
    sys.exit(main())
