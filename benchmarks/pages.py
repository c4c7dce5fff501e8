"""Times the admin's pages with millions of jobs: ``python -m benchmarks.pages``.

It fills the PostgreSQL database of DATABASE_URL, which must have no jobs, with --ended jobs (five
million), --ready ones, schedules, workers and a week of measurements, and prints for each page how
many statements it takes and how long: the first time, and the median of the next ones.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import django

# A UUIDv7 with the time i milliseconds before now.
_ID = """(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - {ago}), 12, '0')
    || '7000' || '8' || lpad(to_hex(i), 15, '0'))::uuid"""

_JOBS = """
INSERT INTO django_jobs_job (id, name, queue, rank, status, args, kwargs, enqueued_at, run_at,
    ready_at, started_at, ended_at, prune_at, claims, retries, worker_id, result, error_class,
    error_message, schedule_id, pending_parents, has_dependents, crashes, deferrals)
SELECT {id}, 'testproject.shop.job_' || i % 50, 'queue_' || i % 12, 0, {status},
    '[' || i || ',"some text to read"]', '{{"user_id":' || i % 1000 || '}}',
    now() - {ago} * interval '1 ms', NULL, now() - {ago} * interval '1 ms', {started}, {ended},
    {ended} + interval '7 days', 1, 0, NULL, NULL, {error}, '', {schedule}, 0, false, 0, 0
FROM generate_series(1, {number}) AS i
"""
_ENDED_STATUS = """CASE WHEN i % 50 = 0 THEN 'FAILURE' WHEN i % 100 = 1 THEN 'REVOKED'
    ELSE 'SUCCESS' END"""
_AGO = "(i::bigint * 100)"


def fill(ended: int, ready: int, schedules: int, workers: int) -> None:
    """Insert the rows with a few statements, and update the database's statistics."""
    from django.db import connection

    from django_jobs.models import Job

    if Job.objects.exists():
        return
    started = f"now() - ({_AGO} - 50) * interval '1 ms'"
    over = f"now() - ({_AGO} - 90) * interval '1 ms'"
    error = """CASE WHEN i % 50 = 0 THEN 'testproject.Error' || i % 7 ELSE '' END"""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(_JOBS.format(
            id=_ID.format(ago=_AGO), status=_ENDED_STATUS, ago=_AGO, started=started, ended=over,
            error=error, schedule=f"CASE WHEN i % 10 = 0 THEN i % {schedules} + 1 END",
            number=ended,
        ))  # fmt: skip
        cursor.execute(_JOBS.format(
            id=_ID.format(ago="i % 50000"), status="'PENDING'", ago="i % 50000", started="NULL",
            ended="NULL::timestamptz", error="''", schedule="NULL::bigint", number=ready,
        ))  # fmt: skip
        cursor.execute(
            "INSERT INTO django_jobs_worker (id, name, hostname, pid, pool, slots, busy, queues, "
            "exclude_queues, details, version, started_at, heartbeat_at, lease_until, quiet, "
            "jobs_done) SELECT gen_random_uuid(), 'w' || i, 'host' || i %% 40, i, 'prefork', 1, "
            "i %% 2, '[]', '[]', '{}', '', now(), now(), now() + interval '1 day', false, 1000 "
            "FROM generate_series(1, %s) AS i",
            [workers],
        )
        cursor.execute(
            "INSERT INTO django_jobs_measurement (starts_at, seconds, in_total, queue, name, sent, "
            "succeeded, failed, retried, revoked, rescued, wait_seconds, run_seconds, "
            "longest_run_seconds, waits, runs, errors, steps) "
            "SELECT floor(extract(epoch FROM now()) / 60) * 60 - minute * 60, 60, true, "
            "'queue_' || n % 12, 'testproject.shop.job_' || n, 10, "
            "9, 1, 0, 0, 0, 1, 2, 0.5, '[0,3,7]', '[0,0,10]', '{}', '{}' "
            "FROM generate_series(0, 119) AS minute, generate_series(0, 49) AS n"
        )
        cursor.execute(
            "INSERT INTO django_jobs_measurement (starts_at, seconds, in_total, queue, name, sent, "
            "succeeded, failed, retried, revoked, rescued, wait_seconds, run_seconds, "
            "longest_run_seconds, waits, runs, errors, steps) "
            "SELECT floor(extract(epoch FROM now()) / 3600) * 3600 - hour * 3600, 3600, true, "
            "'queue_' || n % 12, "
            "'testproject.shop.job_' || n, 600, 580, 20, 0, 0, 0, 60, 90, 0.5, '[0,300,300]', "
            "'[0,0,600]', '{}', '{}' "
            "FROM generate_series(2, 167) AS hour, generate_series(0, 49) AS n"
        )
    _make_schedules(schedules)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")


def _make_schedules(number: int) -> None:
    from django.utils import timezone

    from django_jobs.models import Schedule

    now = timezone.now()
    Schedule.objects.bulk_create(
        Schedule(
            pk=pk, name=f"schedule {pk}", job_name=f"testproject.shop.job_{pk % 50}",
            kind="interval", interval_seconds=3600,
            next_run_at=now + datetime.timedelta(seconds=pk),
        )
        for pk in range(1, number + 1)
    )  # fmt: skip


def pages() -> Iterator[tuple[str, str, float]]:
    """Yield the name, the path and the allowed milliseconds of each page."""
    from django_jobs.models import Job, Schedule, Worker

    failed = Job.objects.filter(status="FAILURE").order_by("-pk").values_list("pk", flat=True)[0]
    done = Job.objects.filter(status="SUCCESS").order_by("pk").values_list("pk", flat=True)[0]
    jobs = "job/"
    yield "dashboard", "dashboard/", 200
    yield "dashboard, 24 h", "dashboard/?window=24h", 200
    yield "dashboard, 7 d", "dashboard/?window=7d", 200
    yield "jobs", jobs, 300
    for status in ("FAILURE", "SUCCESS", "PENDING", "STARTED", "RETRY", "REVOKED", "SCHEDULED"):
        yield f"jobs, {status.lower()}", f"{jobs}?status={status}", 300
    yield "jobs, page 100", f"{jobs}?p=100", 300
    yield "jobs of a queue", f"{jobs}?queue=queue_3", 500
    yield "jobs of a queue without", f"{jobs}?queue=none", 500
    yield "jobs of a function", f"{jobs}?name=testproject.shop.job_7", 500
    yield "jobs with an error", f"{jobs}?status=FAILURE&error=testproject.Error3", 500
    yield "jobs with more attempts", f"{jobs}?attempts=more", 500
    yield "jobs of a schedule", f"{jobs}?schedule=77", 500
    yield "jobs of the past hour", f"{jobs}?age=hour", 500
    yield "search: id", f"{jobs}?q={done}", 500
    yield "search: name", f"{jobs}?q=job_9", 500
    yield "search: no such name", f"{jobs}?q=nothing", 500
    yield "search: argument", f"{jobs}?q={quote('args.user_id:77')}", 500
    yield "search: no such argument", f"{jobs}?q={quote('args.user_id:x')}", 500
    yield "search: error text", f"{jobs}?q={quote('error:no such text')}", 500
    yield "jobs older than a month", f"{jobs}?age=over-month", 500
    yield "job, failed", f"job/{failed}/change/", 200
    yield "job, the oldest", f"job/{done}/change/", 200
    yield "queues", "queue/", 200
    yield "job functions", "function/", 200
    yield "job function", "function/django_jobs.map/", 200
    yield "schedules", "schedule/", 300
    yield "schedule", f"schedule/{Schedule.objects.first().pk}/change/", 200
    yield "workers", "worker/", 300
    yield "worker", f"worker/{Worker.objects.first().pk}/change/", 200


def measure(path: str, rounds: int) -> tuple[int, list[float]]:
    """Return the number of statements and the milliseconds of each request, without cache."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from django_jobs.metrics import cache

    client = Client()
    user, _made = User.objects.get_or_create(username="b", is_staff=True, is_superuser=True)
    client.force_login(user)
    times: list[float] = []
    queries = 0
    for round_number in range(rounds + 1):
        cache.clear()
        start = time.perf_counter()
        if round_number:
            response = client.get(f"/admin/django_jobs/{path}")
            times.append((time.perf_counter() - start) * 1000)
        else:
            with CaptureQueriesContext(connection) as captured:
                response = client.get(f"/admin/django_jobs/{path}")
            queries = len(captured)
            times.append((time.perf_counter() - start) * 1000)
        assert response.status_code == 200, (path, response.status_code)
    return queries, times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ended", type=int, default=5_000_000)
    parser.add_argument("--ready", type=int, default=100_000)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    os.environ["DEBUG"] = "false"
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL database")
    call_command("migrate", verbosity=0)
    start = time.perf_counter()
    fill(given.ended, given.ready, given.schedules, given.workers)
    sys.stdout.write(f"filled in {time.perf_counter() - start:.0f} s\n")
    slow = 0
    sys.stdout.write(f"{'page':28}{'statements':>11}{'first ms':>10}{'median ms':>11}{'goal':>7}\n")
    for name, path, goal in pages():
        queries, times = measure(path, given.rounds)
        median = statistics.median(times[1:])
        slow += median > goal
        mark = " slow" if median > goal else ""
        sys.stdout.write(
            f"{name:28}{queries:>11}{times[0]:>10.0f}{median:>11.0f}{goal:>7.0f}{mark}\n"
        )
        sys.stdout.flush()
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
