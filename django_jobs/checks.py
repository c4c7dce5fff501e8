"""System checks of the setting and of the database that holds the jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core import checks
from django.db import connections
from django.db.utils import DatabaseError

from .beat.code import schedules as code_schedules
from .conf import get_settings, problems
from .moments import LONGEST_SECONDS
from .options import queue_problems
from .rates import parse

_WAL = (
    'OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, '
    '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}'
)


@checks.register("django_jobs")
def check_settings(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Unknown keys, wrong types and values that cannot work together."""
    found: list[checks.CheckMessage] = [
        checks.Error(what, hint=hint, id="django_jobs.E001") for what, hint in problems()
    ]
    settings = get_settings()
    if settings.database not in connections:
        known = ", ".join(connections)
        found.append(
            checks.Error(
                f"DJANGO_JOBS['DATABASE'] is {settings.database!r}, which DATABASES does not have",
                hint=f"Use one of {known}.",
                id="django_jobs.E002",
            )
        )
        return found
    found += _check_values()
    engine = connections[settings.database].vendor
    if engine not in ("postgresql", "mysql", "sqlite"):
        found.append(
            checks.Error(
                f"jobs cannot live in a {engine} database",
                hint="Use PostgreSQL, MariaDB, MySQL or SQLite.",
                id="django_jobs.E003",
            )
        )
    if engine == "sqlite":
        found += _check_sqlite(connections[settings.database].settings_dict)
    if engine == "postgresql":
        found += _check_pool(connections[settings.database].settings_dict)
    return found


@checks.register(checks.Tags.database)
def check_database(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """What the database server is able to do."""
    using = get_settings().database
    if not databases or using not in databases or using not in connections:
        return []
    connection: Any = connections[using]
    try:
        if connection.vendor == "mysql" and connection.mysql_is_mariadb:
            if connection.mysql_version < (10, 6):
                version = ".".join(map(str, connection.mysql_version))
                return [
                    checks.Error(
                        f"MariaDB {version} has no SKIP LOCKED",
                        hint="Use MariaDB 10.6 or newer.",
                        id="django_jobs.E004",
                    )
                ]
        elif connection.vendor == "sqlite":
            is_old = connection.Database.sqlite_version_info < (3, 35)
            if is_old or not connection.features.supports_json_field:
                lacks = "RETURNING" if is_old else "JSON functions"
                return [
                    checks.Error(
                        f"SQLite {connection.Database.sqlite_version} has no {lacks}",
                        hint="Use SQLite 3.35 or newer, built with the JSON functions.",
                        id="django_jobs.E005",
                    )
                ]
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode")
                mode = cursor.fetchone()[0]
            if mode not in ("wal", "memory"):
                return [
                    checks.Warning(
                        f"the SQLite database of the jobs is in journal mode {mode}: "
                        "readers and workers lock each other out",
                        hint=f"Set {_WAL}.",
                        id="django_jobs.W001",
                    )
                ]
    except DatabaseError:
        return []
    return []


def _check_values() -> Iterator[checks.CheckMessage]:
    settings = get_settings()
    if not 0 < 3 * settings.heartbeat_seconds <= settings.lease_seconds <= LONGEST_SECONDS:
        yield checks.Error(
            f"LEASE_SECONDS ({settings.lease_seconds}) must be at least three times "
            f"HEARTBEAT_SECONDS ({settings.heartbeat_seconds}), which must be above 0",
            hint="A worker that misses one heartbeat would be taken for dead.",
            id="django_jobs.E006",
        )
    for name in ("max_crashes", "max_payload_bytes", "max_result_bytes"):
        if getattr(settings, name) < 1:
            yield checks.Error(
                f"{name.upper()} must be at least 1, got {getattr(settings, name)}",
                id="django_jobs.E007",
            )
    if settings.metrics_token is not None and len(settings.metrics_token) < 16:
        yield checks.Error(
            f"METRICS_TOKEN has {len(settings.metrics_token)} characters, fewer than 16",
            hint="Take a random one: python -c 'import secrets; print(secrets.token_urlsafe())'.",
            id="django_jobs.E010",
        )
    for name in ("result_expires", "failure_expires", "shutdown_grace_seconds"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value <= LONGEST_SECONDS:
            yield checks.Error(
                f"{name.upper()} must be from 0 seconds to a century, got {value}",
                hint="None keeps ended jobs for ever." if name.endswith("expires") else None,
                id="django_jobs.E011",
            )
    for queue in {settings.default_queue, *settings.queues}:
        for problem in queue_problems(queue):
            yield checks.Error(
                f"DJANGO_JOBS names a queue that cannot be: {problem}",
                hint="Rename it in DEFAULT_QUEUE or QUEUES.",
                id="django_jobs.E012",
            )
    for queue, options in settings.queues.items():
        if not _is_queue(options):
            yield checks.Error(
                f"DJANGO_JOBS['QUEUES'][{queue!r}] must be a dict with MAX_PENDING and CONCURRENCY "
                "(whole numbers ≥ 1), RATE_LIMIT (as in @job) and DATABASE (one of "
                f"{', '.join(connections)}), got {options!r}",
                hint='Write {"MAX_PENDING": 1000, "RATE_LIMIT": "10/s"}.',
                id="django_jobs.E008",
            )


def _is_queue(options: object) -> bool:
    allowed = {"MAX_PENDING", "DATABASE", "CONCURRENCY", "RATE_LIMIT"}
    if not isinstance(options, dict) or set(options) - allowed:
        return False
    try:
        parse(options.get("RATE_LIMIT"))
    except ValueError:
        return False
    numbers = [options[name] for name in ("MAX_PENDING", "CONCURRENCY") if name in options]
    known = options.get("DATABASE", "default") in connections
    return known and all(isinstance(number, int) and number >= 1 for number in numbers)


@checks.register("django_jobs")
def check_schedules(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """The schedules in code: ``@job(schedule=...)``, ``SCHEDULES``, ``add_periodic_task()``."""
    _found, wrong = code_schedules()
    return [checks.Error(text, id="django_jobs.E009") for text in wrong]


def _check_sqlite(settings: dict[str, Any]) -> Iterator[checks.CheckMessage]:
    options = settings.get("OPTIONS") or {}
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield checks.Warning(
            "the SQLite database of the jobs does not begin its transactions as IMMEDIATE: one "
            'that reads and then writes fails with "database is locked" beside a worker',
            hint=f"Set {_WAL}.",
            id="django_jobs.W002",
        )


def _check_pool(settings: dict[str, Any]) -> Iterator[checks.CheckMessage]:
    pool = (settings.get("OPTIONS") or {}).get("pool")
    if isinstance(pool, dict) and pool.get("max_size", 4) < 2:
        yield checks.Warning(
            f"the connection pool holds {pool['max_size']} connection: a job that asks for a "
            "second one (durable=True, a thread) waits for itself",
            hint="Set OPTIONS['pool']['max_size'] to the worker's slots plus one, at least.",
            id="django_jobs.W003",
        )
