"""Checks of the aliases in ``TASKS`` that have this backend."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core import checks
from django.db import DatabaseError, connections

from ...define.job_defaults import option_problem
from ...define.option_problems import queue_problems
from ...define.routing import database_of
from ...models import Job, Worker
from ...suggest import did_you_mean
from .names import BaseTaskBackend, task_backends
from .task import JobTask


def backend_problems(backend: BaseTaskBackend) -> Iterator[checks.CheckMessage]:
    """Check an alias without a query."""
    where = f"TASKS[{backend.alias!r}]"
    if not apps.is_installed("django_jobs"):
        yield checks.Error(
            f"{where} stores its tasks in django_jobs, which is not installed.",
            hint="Add 'django_jobs' to INSTALLED_APPS, and run manage.py migrate.",
            id="django_jobs.E020",
        )
    if problem := _options_problem(backend.options):
        yield checks.Error(
            f"{where}['OPTIONS'] is wrong: {problem}",
            hint='Write the defaults of its tasks, which are options of @job: {"max_retries": 5}. '
            "A queue's database stands in DJANGO_JOBS['QUEUES'].",
            id="django_jobs.E021",
        )
    for queue in sorted(backend.queues, key=str):
        for problem in queue_problems(queue):
            yield checks.Error(
                f"{where}['QUEUES'] names an invalid queue: {problem}",
                hint="Rename it.",
                id="django_jobs.E022",
            )
    for using in sorted(_databases(backend) - set(connections)):
        yield checks.Error(
            f"{where} writes jobs to database {using!r}, which DATABASES does not have."
            f"{did_you_mean(using, connections)}",
            hint="Name an alias of DATABASES in DJANGO_JOBS['DATABASE'] or DJANGO_JOBS['QUEUES'].",
            id="django_jobs.E023",
        )


def _options_problem(options: object) -> str:
    if not isinstance(options, dict):
        return f"It must be a dict, got {type(options).__name__}."
    return option_problem(options)


def _databases(backend: BaseTaskBackend) -> set[str]:
    """Return the aliases of the databases with the backend's queues."""
    return {database_of(queue) for queue in backend.queues or {""} if isinstance(queue, str)}


@checks.register(checks.Tags.database)
def check_task_backends(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Warn of tables that are missing, and of queues that no worker serves."""
    found: list[checks.CheckMessage] = []
    if sys.argv[1:2] == ["migrate"]:  # it checks first, and then makes the tables
        return found
    for backend in task_backends.all():
        if issubclass(backend.task_class, JobTask):
            for using in sorted(_databases(backend) & set(databases or ())):
                found += _server_problems(backend, using)
    return found


def _server_problems(backend: BaseTaskBackend, using: str) -> Iterator[checks.CheckMessage]:
    try:
        if Job._meta.db_table not in connections[using].introspection.table_names():
            yield checks.Warning(
                f"TASKS[{backend.alias!r}] writes jobs to database {using!r}, which has no table "
                f"{Job._meta.db_table}.",
                hint=f"Run manage.py migrate django_jobs --database {using}.",
                id="django_jobs.W007",
            )
            return
        workers = list(Worker.objects.using(using).live().executing())
    except DatabaseError:  # the database does not answer
        return
    here = [queue for queue in backend.queues if database_of(queue) == using]
    for queue in sorted(_unserved(here, workers)):
        yield checks.Warning(
            f"TASKS[{backend.alias!r}] has the queue {queue!r}, which no running worker serves.",
            hint=f"Start manage.py runworker --queues {queue}, or name it in the --queues of "
            "another worker.",
            id="django_jobs.W008",
        )


def _unserved(queues: Iterable[str], workers: Collection[Worker]) -> set[str]:
    """Return the *queues* that none of the *workers* serves; without workers none."""
    return {queue for queue in queues if workers and not any(w.serves(queue) for w in workers)}
