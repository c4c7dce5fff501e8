"""System checks of the setting and of the database that holds the jobs."""

from __future__ import annotations

import datetime
import decimal
import types
import typing
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core import checks
from django.core.management import get_commands
from django.db import connections
from django.db.utils import DatabaseError

from .beat.sync import schedules as code_schedules
from .conf import Settings, get_settings, problems
from .define import registry
from .define.options import priority_problems, queue_problems
from .define.rates import parse
from .define.routing import route_problem
from .moments import LONGEST_SECONDS
from .suggest import did_you_mean

if TYPE_CHECKING:
    from .api.job import JobFunction

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
                f"DJANGO_JOBS['DATABASE'] is {settings.database!r}, which DATABASES does not have.",
                hint=f"Use one of {known}.{did_you_mean(settings.database, connections)}",
                id="django_jobs.E002",
            )
        )
        return found
    found += _check_values()
    engine = connections[settings.database].vendor
    if engine not in ("postgresql", "mysql", "sqlite"):
        found.append(
            checks.Error(
                f"Jobs cannot live in a {engine} database.",
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
                        f"MariaDB {version} has no SKIP LOCKED.",
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
                        f"SQLite {connection.Database.sqlite_version} has no {lacks}.",
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
                        f"The SQLite database of the jobs is in journal mode {mode}: "
                        "readers and workers lock each other out.",
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
            f"HEARTBEAT_SECONDS ({settings.heartbeat_seconds}), which must be above 0.",
            hint="Raise LEASE_SECONDS: a worker that misses one heartbeat would be taken for dead.",
            id="django_jobs.E006",
        )
    for name in ("max_crashes", "max_payload_bytes", "max_result_bytes"):
        if getattr(settings, name) < 1:
            yield checks.Error(
                f"{name.upper()} must be at least 1, got {getattr(settings, name)}.",
                hint=f"Remove it for the default, {getattr(Settings(), name):,}.",
                id="django_jobs.E007",
            )
    if settings.metrics_token is not None and len(settings.metrics_token) < 16:
        yield checks.Error(
            f"METRICS_TOKEN has {len(settings.metrics_token)} characters, fewer than 16.",
            hint="Take a random one: python -c 'import secrets; print(secrets.token_urlsafe())'.",
            id="django_jobs.E010",
        )
    for name in ("result_expires", "failure_expires", "shutdown_grace_seconds"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value <= LONGEST_SECONDS:
            yield checks.Error(
                f"{name.upper()} must be from 0 seconds to a century, got {value}.",
                hint="None keeps ended jobs for ever."
                if name.endswith("expires")
                else "Remove it for the default, 30.",
                id="django_jobs.E011",
            )
    for queue in {settings.default_queue, *settings.queues}:
        for problem in queue_problems(queue):
            yield checks.Error(
                f"DJANGO_JOBS names a queue that cannot be: {problem}",
                hint="Rename it in DEFAULT_QUEUE or QUEUES.",
                id="django_jobs.E012",
            )
    yield from _check_routes(settings.routes)
    yield from _check_worker()
    for queue, options in settings.queues.items():
        if not _is_queue(options):
            yield checks.Error(
                f"DJANGO_JOBS['QUEUES'][{queue!r}] must be a dict with MAX_PENDING and CONCURRENCY "
                "(whole numbers ≥ 1), RATE_LIMIT (as in @job) and DATABASE (one of "
                f"{', '.join(connections)}), got {options!r}.",
                hint='Write {"MAX_PENDING": 1000, "RATE_LIMIT": "10/s"}.',
                id="django_jobs.E008",
            )


def _check_worker() -> Iterator[checks.CheckMessage]:
    if get_settings().worker:
        from .worker.flags import setting_problems  # few processes need the worker

        for problem in setting_problems():
            yield checks.Error(
                problem,
                hint="Its keys and values are those of runworker's flags: "
                '{"POOL": "threads", "CONCURRENCY": 4}.',
                id="django_jobs.E014",
            )


def _check_routes(routes: Any) -> Iterator[checks.CheckMessage]:
    for entry in [routes] if isinstance(routes, Mapping) else routes:
        if callable(entry):
            continue
        for glob, options in entry.items() if isinstance(entry, Mapping) else [("?", entry)]:
            problem = route_problem(options)
            if not problem and "queue" in options:
                problem = " ".join(queue_problems(options["queue"]))
            if not problem and "priority" in options:
                problem = " ".join(priority_problems(options["priority"]))
            if problem:
                yield checks.Error(
                    f"DJANGO_JOBS['ROUTES'][{glob!r}]: {problem}",
                    hint='Write {"shop.jobs.*": {"queue": "shop", "priority": 5}}.',
                    id="django_jobs.E013",
                )


@checks.register("django_jobs")
def check_commands(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Another app's command of the same name may win."""
    found = get_commands()
    return [
        checks.Warning(
            f"`manage.py {name}` is the command of {found[name]}, not of django_jobs.",
            hint=f"Start `manage.py jobs {alias}` instead, or put 'django_jobs' before "
            f"{str(found[name]).rpartition('.')[2]!r} in INSTALLED_APPS: the first one wins.",
            id="django_jobs.W004",
        )
        for name, alias in (("runworker", "worker"), ("runbeat", "beat"))
        if found.get(name, "django_jobs") != "django_jobs"
    ]


@checks.register("django_jobs")
def check_celery_settings(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Celery's settings have no effect here."""
    return [
        checks.Warning(
            f"The setting {name} is Celery's, and django_jobs does not read it.",
            hint=f"{hint} Remove {name} when no Celery worker needs it any more.",
            id="django_jobs.W005",
        )
        for name, hint in _CELERY.items()
        if hasattr(django_settings, name)
    ]


# Celery's settings as Django projects write them, and what takes their place.
_CELERY = {
    "CELERY_TASK_ALWAYS_EAGER": "Use DJANGO_JOBS['EAGER'].",
    "CELERY_ALWAYS_EAGER": "Use DJANGO_JOBS['EAGER'].",
    "CELERY_TASK_EAGER_PROPAGATES": "Use DJANGO_JOBS['EAGER'] = 'raise'.",
    "CELERY_EAGER_PROPAGATES_EXCEPTIONS": "Use DJANGO_JOBS['EAGER'] = 'raise'.",
    "CELERY_TASK_ROUTES": "Use DJANGO_JOBS['ROUTES'].",
    "CELERY_ROUTES": "Use DJANGO_JOBS['ROUTES'].",
    "CELERY_TASK_DEFAULT_QUEUE": "Use DJANGO_JOBS['DEFAULT_QUEUE'].",
    "CELERY_DEFAULT_QUEUE": "Use DJANGO_JOBS['DEFAULT_QUEUE'].",
    "CELERY_TASK_QUEUES": "Use DJANGO_JOBS['QUEUES'] for limits; queues need no declaration.",
    "CELERY_RESULT_EXPIRES": "Use DJANGO_JOBS['RESULT_EXPIRES'].",
    "CELERY_TASK_RESULT_EXPIRES": "Use DJANGO_JOBS['RESULT_EXPIRES'].",
    "CELERY_BEAT_SCHEDULE": "Use DJANGO_JOBS['SCHEDULES'].",
    "CELERYBEAT_SCHEDULE": "Use DJANGO_JOBS['SCHEDULES'].",
    "CELERY_TASK_TIME_LIMIT": "Use DJANGO_JOBS['WORKER']['TIME_LIMIT'] or time_limit= of @job.",
    "CELERYD_TASK_TIME_LIMIT": "Use DJANGO_JOBS['WORKER']['TIME_LIMIT'] or time_limit= of @job.",
    "CELERY_TASK_SOFT_TIME_LIMIT": (
        "Use DJANGO_JOBS['WORKER']['SOFT_TIME_LIMIT'] or soft_time_limit= of @job."
    ),
    "CELERYD_TASK_SOFT_TIME_LIMIT": (
        "Use DJANGO_JOBS['WORKER']['SOFT_TIME_LIMIT'] or soft_time_limit= of @job."
    ),
    "CELERY_WORKER_CONCURRENCY": "Use DJANGO_JOBS['WORKER']['CONCURRENCY'].",
    "CELERYD_CONCURRENCY": "Use DJANGO_JOBS['WORKER']['CONCURRENCY'].",
    "CELERY_WORKER_MAX_TASKS_PER_CHILD": "Use DJANGO_JOBS['WORKER']['MAX_JOBS_PER_CHILD'].",
    "CELERYD_MAX_TASKS_PER_CHILD": "Use DJANGO_JOBS['WORKER']['MAX_JOBS_PER_CHILD'].",
    "CELERY_WORKER_PREFETCH_MULTIPLIER": "There is nothing to tune: waiting jobs are given back.",
    "CELERY_TASK_ACKS_LATE": "It is the default; acks_late=False of @job turns it off.",
    "CELERY_TASK_IGNORE_RESULT": "Use ignore_result= of @job.",
}


@checks.register("django_jobs")
def check_annotations(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Parameters of job functions whose types JSON does not keep."""
    found: list[checks.CheckMessage] = []
    for function in registry.every():
        for name, kind in _types_lost(function):
            annotation, write, read = _IN_JSON[kind]
            found.append(
                checks.Warning(
                    f"{function.name} annotates its parameter {name!r} as {kind.__name__}, but "
                    "arguments travel as JSON, and the job gets a str.",
                    hint=f"Annotate it as {annotation}, pass {write.format(name)}, and write "
                    f"{read.format(name)} in the job.",
                    id="django_jobs.W006",
                )
            )
    return found


# What to annotate instead of a type, to pass, and to write in the job.
_IN_JSON = {
    datetime.datetime: ("str", "{}.isoformat()", "datetime.datetime.fromisoformat({})"),
    datetime.date: ("str", "{}.isoformat()", "datetime.date.fromisoformat({})"),
    datetime.time: ("str", "{}.isoformat()", "datetime.time.fromisoformat({})"),
    datetime.timedelta: ("float", "{}.total_seconds()", "datetime.timedelta(seconds={})"),
    decimal.Decimal: ("str", "str({})", "decimal.Decimal({})"),
    uuid.UUID: ("str", "str({})", "uuid.UUID({})"),
}


def _types_lost(function: JobFunction[..., Any, Any]) -> Iterator[tuple[str, type]]:
    try:
        hints = typing.get_type_hints(function.__wrapped__)
    except Exception:  # it names what only type checkers import
        return
    for name in function.call_signature.parameters:
        yield from ((name, kind) for kind in list(_lost_in(hints.get(name)))[:1])


def _lost_in(hint: Any) -> Iterator[type]:
    """Yield the types within *hint* that arrive as texts; of a union with str none."""
    inner = typing.get_args(hint)
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    if inner and not (is_union and str in inner):
        for part in inner:
            yield from _lost_in(part)
    elif not inner and isinstance(hint, type):
        yield from [kind for kind in _IN_JSON if issubclass(hint, kind)][:1]


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
            "The SQLite database of the jobs does not begin its transactions as IMMEDIATE: one "
            'that reads and then writes fails with "database is locked" beside a worker.',
            hint=f"Set {_WAL}.",
            id="django_jobs.W002",
        )


def _check_pool(settings: dict[str, Any]) -> Iterator[checks.CheckMessage]:
    pool = (settings.get("OPTIONS") or {}).get("pool")
    if isinstance(pool, dict) and pool.get("max_size", 4) < 2:
        yield checks.Warning(
            f"The connection pool holds {pool['max_size']} connection: a job that asks for a "
            "second one (durable=True, a thread) waits for itself.",
            hint="Set OPTIONS['pool']['max_size'] to the worker's slots plus one, at least.",
            id="django_jobs.W003",
        )
