"""Times the admin's pages with millions of jobs: ``python -m benchmarks.pages``.

It fills the PostgreSQL database of DATABASE_URL with --ended jobs (five million), --ready ones,
schedules, workers and a week of measurements, if it has no jobs, and measures without the cache of
the package. For each page it prints the statements, with those of the session and the user, the
milliseconds of the first request, the median and the slowest of the next ones, the bytes, and the
milliseconds of CPU of a request in this process and in its server process, if that is on this host.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django

_ADMIN = "/admin/django_jobs/"
_REFRESH = {"x-jobs-refresh": "1"}
#: Jobs that one request retries.
RETRIED = 10_000
_RETRIED = "testproject.shop.job_retried"


def pages() -> Iterator[tuple[str, str, float]]:
    """Yield the name, the path and the allowed milliseconds of each page."""
    from django_jobs.models import Job, Schedule, Worker

    newest = Job.objects.order_by("-pk").values_list("pk", flat=True)
    failed = newest.filter(status="FAILURE").first()
    done = newest.filter(status="SUCCESS").reverse().first()
    waits = newest.filter(status="WAITING").first()
    jobs = "job/"
    yield "dashboard", "dashboard/", 150
    yield "dashboard, 24 h", "dashboard/?window=24h", 150
    yield "dashboard, 7 d", "dashboard/?window=7d", 150
    yield "jobs", jobs, 200
    for status in ("FAILURE", "SUCCESS", "PENDING", "STARTED", "RETRY", "REVOKED", "SCHEDULED",
                   "WAITING"):  # fmt: skip
        yield f"jobs, {status.lower()}", f"{jobs}?status={status}", 200
    yield "jobs, page 100", f"{jobs}?p=100", 200
    yield "jobs of a queue", f"{jobs}?queue=queue_3", 200
    yield "jobs of a queue without", f"{jobs}?queue=none", 200
    yield "jobs of a function", f"{jobs}?name=testproject.shop.job_7", 200
    yield "jobs with an error", f"{jobs}?status=FAILURE&error=testproject.Error3", 200
    yield "jobs with more attempts", f"{jobs}?attempts=more", 200
    yield "jobs of a schedule", f"{jobs}?schedule=77", 200
    yield "jobs of the past day", f"{jobs}?age=day", 200
    yield "jobs older than a month", f"{jobs}?age=over-month", 200
    searches = {
        "id": str(done), "name": "job_9", "no such name": "nothing",
        "argument": "args.user_id:77", "its failures": "args.user_id:77 error:Error3",
        "argument by position": "args.number:42", "no such argument": "args.user_id:-1",
        "error": "error:Error3", "error text": "error:expired", "an old text": "refused:",
        "no such error text": "error:nowhere",
    }  # fmt: skip
    for name, words in searches.items():
        yield f"search: {name}", f"{jobs}?q={quote(words)}", 500
    yield "search: failed argument", f"{jobs}?status=FAILURE&q={quote('args.user_id:77')}", 500
    yield "search: failed text", f"{jobs}?status=FAILURE&q={quote('error:nowhere')}", 500
    yield "job, failed", f"job/{failed}/change/", 100
    yield "job, the oldest", f"job/{done}/change/", 100
    yield "job, waiting", f"job/{waits}/change/", 100
    yield "queues", "queue/", 200
    yield "queue", "queue/queue_3/page/", 200
    yield "job functions", "function/", 200
    yield "job function", "function/testproject.shop.job_7/", 150
    yield "job function, 7 d", "function/testproject.shop.job_7/?window=7d", 150
    yield "schedules", "schedule/", 300
    yield "schedule", f"schedule/{Schedule.objects.first().pk}/change/", 200
    yield "workers", "worker/", 300
    yield "worker", f"worker/{Worker.objects.first().pk}/change/", 200


def client() -> Any:
    from django.contrib.auth.models import User
    from django.test import Client

    found = Client()
    user, _made = User.objects.get_or_create(
        username="b", defaults={"is_staff": True, "is_superuser": True}
    )
    found.force_login(user)
    return found


def measure(
    visitor: Any, path: str, rounds: int, headers: dict[str, str] | None = None, status: int = 200
) -> tuple[int, list[float], int, float]:
    """Return the statements, the milliseconds of each request, the bytes and the CPU, uncached.

    A request of an unchanged page is made again if a minute has begun, with which charts change.
    """
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from django_jobs.metrics import cache

    times: list[float] = []
    queries, used, is_again = 0, 0.0, False
    while len(times) <= rounds:
        cache.clear()
        before, start = cpu_seconds(), time.perf_counter()
        if times:
            response = visitor.get(_ADMIN + path, headers=headers)
        else:
            with CaptureQueriesContext(connection) as captured:
                response = visitor.get(_ADMIN + path, headers=headers)
            queries = len(captured)
        took = (time.perf_counter() - start) * 1000
        if (status, response.status_code) == (304, 200) and not is_again:
            headers, is_again = {**(headers or {}), "if-none-match": response["ETag"]}, True
            continue
        assert response.status_code == status, (path, response.status_code)
        used += cpu_seconds() - before if times else 0.0
        times.append(took)
        is_again = False
    return queries, times, len(response.content), used / rounds * 1000


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its server process, so far as it can be read."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (server,) = cursor.fetchone()
    try:
        columns = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.process_time()
    return time.process_time() + (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


def idle_refreshes(visitor: Any) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the name, the path and the headers of a request for each page that refreshes itself."""
    for name, path, _goal in pages():
        if name in ("dashboard", "jobs", "jobs, failure", "job, failed", "queues", "workers"):
            answer = visitor.get(_ADMIN + path, headers=_REFRESH)
            yield f"idle: {name}", path, {**_REFRESH, "if-none-match": answer["ETag"]}


def retry_many(visitor: Any) -> tuple[int, float, float]:
    """Return the statements, time and CPU of one request that retries ten thousand jobs."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from django_jobs.models import Job

    from .pages_data import add_failed

    add_failed(_RETRIED, RETRIED)
    chosen = str(Job.objects.filter(name=_RETRIED).latest("pk").pk)
    form = {"action": "retry", "select_across": "1", "index": "0", "confirmed": "yes",
            "_selected_action": [chosen]}  # fmt: skip
    try:
        start, used = time.perf_counter(), cpu_seconds()
        with CaptureQueriesContext(connection) as captured:
            answer = visitor.post(f"{_ADMIN}job/?name={_RETRIED}&status=FAILURE", form)
        took, used = (time.perf_counter() - start) * 1000, (cpu_seconds() - used) * 1000
        done = Job.objects.filter(name=_RETRIED, status="PENDING").count()
        assert (answer.status_code, done) == (302, RETRIED), (answer.status_code, done)
    finally:
        Job.objects.filter(name=_RETRIED).delete()
    return len(captured), took, used


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ended", type=int, default=5_000_000)
    parser.add_argument("--ready", type=int, default=100_000)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="pages whose names begin so")
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    os.environ["DEBUG"] = "false"
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from .pages_data import define_functions, fill, freshen

    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL database")
    call_command("migrate", verbosity=0)
    define_functions(_RETRIED)
    start = time.perf_counter()
    fill(given.ended, given.ready, given.schedules, given.workers)
    freshen()
    sys.stdout.write(f"filled in {time.perf_counter() - start:.0f} s\n")
    visitor = client()
    sys.stdout.write(
        f"{'page':28}{'statements':>11}{'first ms':>10}{'median ms':>11}{'most ms':>9}"
        f"{'bytes':>9}{'CPU ms':>8}{'goal':>7}\n"
    )
    slow = 0
    for name, path, goal in pages():
        if name.startswith(given.only):
            slow += _print(name, goal, *measure(visitor, path, given.rounds))
    for name, path, headers in idle_refreshes(visitor):
        if name.startswith(given.only):
            slow += _print(name, 100, *measure(visitor, path, given.rounds, headers, 304))
    if "bulk retry".startswith(given.only):
        queries, took, cpu = retry_many(visitor)
        slow += _print("bulk retry", 2_000, queries, [took, took], 0, cpu)
    return 1 if slow else 0


def _print(name: str, goal: float, queries: int, times: list[float], size: int, cpu: float) -> bool:
    """Write a line of the table; return whether the page is too slow."""
    median = statistics.median(times[1:])
    mark = " slow" if median > goal else ""
    sys.stdout.write(
        f"{name:28}{queries:>11}{times[0]:>10.0f}{median:>11.0f}{max(times[1:]):>9.0f}"
        f"{size:>9}{cpu:>8.0f}{goal:>7.0f}{mark}\n"
    )
    sys.stdout.flush()
    return bool(mark)


if __name__ == "__main__":
    sys.exit(main())
