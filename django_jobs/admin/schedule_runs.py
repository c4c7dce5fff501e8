"""The last runs of schedules, for their list and their pages."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from ..db import dialect_for
from ..metrics.capped_count import compiled
from ..models import Job

#: The number of a schedule's runs that are shown.
SHOWN = 20
# The columns that the marks and the table of runs need; no arguments, no results.
_COLUMNS = (
    "id", "name", "status", "schedule_id", "enqueued_at", "run_at", "ready_at", "started_at",
    "ended_at", "retries", "error_class",
)  # fmt: skip


def runs_of_schedules(schedule_ids: Sequence[int], using: str) -> dict[int, list[Job]]:
    """Return the newest :data:`SHOWN` jobs of each schedule, the oldest first, in one query."""
    found: dict[int, list[Job]] = {pk: [] for pk in schedule_ids}
    if not found:
        return found
    parts: list[str] = []
    params: list[Any] = []
    for pk in found:
        sql, values = compiled(_newest(pk, using), using)
        # Each part has its own LIMIT: with a common one, a busy schedule would hide the others.
        parts.append(f"SELECT * FROM ({sql}) AS newest_{len(parts)}")  # noqa: S608
        params += values
    readable = dialect_for(connections[using]).readable("job.run_at")
    columns = ", ".join(
        f"{readable} AS run_at" if name == "run_at" else f"job.{name}" for name in _COLUMNS
    )
    sql = (
        f"SELECT {columns} FROM {Job._meta.db_table} job "  # noqa: S608
        f"JOIN ({' UNION ALL '.join(parts)}) newest ON newest.id = job.id"
    )
    for job in Job.objects.using(using).raw(sql, params):
        if job.schedule_id is not None:
            found[job.schedule_id].append(job)
    return {pk: sorted(jobs, key=lambda job: job.pk.int) for pk, jobs in found.items()}


def lateness(runs: Sequence[Job]) -> list[datetime.timedelta]:
    """Return how late beat fired each run; runs by hand and retried ones are left out."""
    return [
        max(datetime.timedelta(0), job.ready_at - job.run_at)
        for job in runs
        if job.run_at is not None and job.ready_at is not None and not job.retries
    ]


def _newest(schedule_id: int, using: str) -> QuerySet[Any]:
    jobs: Any = Job.objects.using(using).filter(schedule_id=schedule_id)
    newest: QuerySet[Any] = jobs.values("id").order_by("-pk")[:SHOWN]
    return newest
