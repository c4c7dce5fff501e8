"""The rows of ``python -m benchmarks.pages``: millions of jobs, written by a few statements.

Each of fifty job functions fails with two classes of errors.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

FUNCTIONS = [f"testproject.shop.job_{number}" for number in range(50)]
#: The errors of the failed jobs.
ERRORS = [f"testproject.Error{number}" for number in range(7)]

# A UUIDv7 with the time "ago" milliseconds before now.
_ID = """(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - {ago}), 12, '0')
    || '{kind}' || lpad(to_hex(i), 15, '0'))::uuid"""

_JOBS = """
INSERT INTO django_jobs_job (id, name, queue, rank, status, args, kwargs, enqueued_at, run_at,
    ready_at, started_at, ended_at, prune_at, claims, retries, worker_id, result, error_class,
    error_message, schedule_id, pending_parents, has_dependents, crashes, deferrals)
SELECT {id}, 'testproject.shop.job_' || i % 50, 'queue_' || i % 12, 0, {status},
    '[' || i || ',"some text to read"]', '{{"user_id":' || i / 7 % 1000 || '}}',
    now() - {ago} * interval '1 ms', {run_at}, now() - {ago} * interval '1 ms', {started}, {ended},
    {ended} + interval '7 days', 1, {retries}, {worker}, NULL, {error},
    {message}, {schedule}, {parents}, false, 0, 0
FROM generate_series(1, {number}) AS i
"""
_NULLS = {
    "kind": "70008", "run_at": "NULL::timestamptz", "started": "NULL::timestamptz", "retries": "0",
    "ended": "NULL::timestamptz", "worker": "NULL::uuid", "error": "''", "message": "''",
    "schedule": "NULL::bigint", "parents": "0",
}  # fmt: skip
# One of fifty, of each function in turn.
_FAILED = "(i / 50 + i) % 50 = 0"
_ENDED_STATUS = f"""CASE WHEN {_FAILED} THEN 'FAILURE' WHEN i / 7 % 100 = 1 THEN 'REVOKED'
    ELSE 'SUCCESS' END"""
_ATTEMPTS = """
INSERT INTO django_jobs_attempt (job_id, attempt, claims, status, worker_id, started_at, ended_at,
    error_class, error_message, error_args, traceback)
SELECT id, 1, 1, 'FAILURE', NULL, started_at, ended_at, error_class, error_message, NULL,
    repeat('  File "shop/jobs.py", line 12, in work' || chr(10), 12) || error_message
FROM django_jobs_job WHERE status = 'FAILURE'
"""
_WORKERS = """
INSERT INTO django_jobs_worker (id, name, hostname, pid, pool, slots, busy, queues, exclude_queues,
    details, version, started_at, heartbeat_at, lease_until, quiet, jobs_done)
SELECT lpad(to_hex(i), 32, '0')::uuid, 'w' || i, 'host' || i % 40, i, 'prefork', 1, i % 2, '[]',
    '[]', '{{}}', '', now(), now(), now(), false, 1000
FROM generate_series(1, {number}) AS i
"""
_MEASUREMENTS = """
INSERT INTO django_jobs_measurement (starts_at, seconds, in_total, queue, name, sent, succeeded,
    failed, retried, revoked, rescued, wait_seconds, run_seconds, longest_run_seconds, waits, runs,
    errors, steps)
SELECT floor(extract(epoch FROM now()) / {seconds}) * {seconds} - step * {seconds}, {seconds}, true,
    'queue_' || n % 12, 'testproject.shop.job_' || n, {jobs}, {jobs} - {jobs} / 50, {jobs} / 50, 0,
    0, 0, {jobs} / 10, {jobs} / 7, 0.5, '[0,' || {jobs} / 2 || ',' || {jobs} / 2 || ']',
    '[0,0,' || {jobs} || ']', '{{"testproject.Error' || (n + step % 2) % 7 || '":['
    || {jobs} / 50 || ',' || (extract(epoch FROM now())::bigint - step * {seconds})
    || ',"{sample}"]}}', '{{}}'
FROM generate_series({first}, {last}) AS step, generate_series(0, 49) AS n
"""


def work(number: int, text: str, user_id: int | None = None) -> None:
    """Stands for a job function of a shop."""


def define_functions(*more: str) -> None:
    """Register the job functions of the rows, as their project would."""
    from django_jobs import job

    for name in (*FUNCTIONS, *more):
        job(name=name)(work)


def fill(ended: int, ready: int, schedules: int, workers: int) -> None:
    """Insert the rows if there are no jobs, and update the database's statistics."""
    from django.db import connection

    from django_jobs.models import Job

    if Job.objects.exists():
        return
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(_WORKERS.format(number=workers))
        for sql in (_ended(ended, schedules), *_open(ready, workers)):
            cursor.execute(sql)
        cursor.execute(_ATTEMPTS)
    _make_schedules(schedules)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")


def add_failed(name: str, number: int) -> None:
    """Insert failed jobs of the function *name*."""
    from django.db import connection

    with connection.cursor() as cursor:
        sql = _jobs(number, "'FAILURE'", "i", kind="71118", started="now()", ended="now()",
                    error="'testproject.Error1'", message="'The payment was refused'")  # fmt: skip
        cursor.execute(sql.replace("'testproject.shop.job_' || i % 50", f"'{name}'"))


def freshen() -> None:
    """Make the workers live and the measurements those of the last week, as of now."""
    from django.db import connection

    from django_jobs.models import Job, Measurement

    sample = Job.objects.filter(status="FAILURE").latest("pk").pk
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_jobs_worker SET heartbeat_at = now() + interval '1 hour', "
            "lease_until = now() + interval '1 day'"
        )
        cursor.execute(f"TRUNCATE {Measurement._meta.db_table}")
        for seconds, first, last, jobs in ((60, 0, 119, 100), (3600, 2, 167, 6000)):
            cursor.execute(_MEASUREMENTS.format(
                seconds=seconds, first=first, last=last, jobs=jobs, sample=sample,
            ))  # fmt: skip
        cursor.execute(f"VACUUM (ANALYZE) {Measurement._meta.db_table}")


def _ended(number: int, schedules: int) -> str:
    ago = "(i::bigint * 100)"
    error = "'testproject.Error' || (i % 50 + i / 500 % 2) % 7"
    message = "'The payment of order ' || i || ' was refused: the card of customer '"
    return _jobs(
        number, _ENDED_STATUS, ago,
        started=f"now() - ({ago} - 50) * interval '1 ms'",
        ended=f"now() - ({ago} - 90) * interval '1 ms'",
        error=f"CASE WHEN {_FAILED} THEN {error} ELSE '' END",
        message=f"CASE WHEN {_FAILED} THEN {message} || i % 1000 || ' has expired' ELSE '' END",
        retries="CASE WHEN i % 1000 = 0 THEN 2 ELSE 0 END",
        schedule=f"CASE WHEN i % 10 = 0 THEN i % {schedules} + 1 END",
    )  # fmt: skip


def _open(ready: int, workers: int) -> Iterable[str]:
    """Yield the statements for the jobs that have not ended; the ids of each have a kind."""
    later = "now() + (i + 86400) * interval '1 s'"
    yield _jobs(ready, "'PENDING'", "i % 50000", kind="70009")
    yield _jobs(ready // 5, "'SCHEDULED'", "i % 50000", kind="7000a", run_at=later)
    yield _jobs(ready // 20, "'RETRY'", "i % 50000", kind="7000b", run_at=later, retries="1",
                error="'testproject.Error1'", message="'The payment was refused'")  # fmt: skip
    yield _jobs(ready // 5, "'WAITING'", "i % 50000", kind="70018", parents="1")
    yield _jobs(workers // 2, "'STARTED'", "i % 50000", kind="70019",
                started="now()", worker="lpad(to_hex(i * 2 - 1), 32, '0')::uuid")  # fmt: skip


def _jobs(number: int, status: str, ago: str, **columns: str) -> str:
    given = {**_NULLS, **columns}
    key = _ID.format(ago=ago, kind=given["kind"])
    return _JOBS.format(**given, id=key, status=status, ago=ago, number=number)


def _make_schedules(number: int) -> None:
    from django.utils import timezone

    from django_jobs.models import Schedule

    tomorrow = timezone.now() + datetime.timedelta(days=1)
    Schedule.objects.bulk_create(
        Schedule(
            pk=pk, name=f"schedule {pk}", job_name=FUNCTIONS[pk % len(FUNCTIONS)],
            kind="interval", interval_seconds=3600,
            next_run_at=tomorrow + datetime.timedelta(seconds=pk),
        )
        for pk in range(1, number + 1)
    )  # fmt: skip
