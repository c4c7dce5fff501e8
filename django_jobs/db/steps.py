"""The record of a step: one statement that writes only while a worker has the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import connections

from ..transitions import RECORD
from .base import JOBS
from .lookup import dialect_for

_STEPS = "django_jobs_step"
# Columns that are ages in seconds: the database subtracts them from its clock.
_AGES = ("began_at", "ended_at")
# Until the end of the transaction nobody may take the job from its worker.
_LOCKS = {"postgresql": " FOR SHARE", "mysql": " LOCK IN SHARE MODE"}


def insert_step(
    job_id: UUID, worker_id: UUID, claims: int, columns: Mapping[str, Any], using: str
) -> bool:
    """Insert the row of a step of a job that *worker_id* has; return False if it has it no more.

    *columns* has the values by name; ``began_at`` and ``ended_at`` are ages in seconds. Outside of
    a transaction the job stays the worker's until the commit. Inside of one its row is not locked,
    because the transaction may last, and others would wait for it.
    """
    connection = connections[using]
    dialect = dialect_for(connection)
    values, params = [], []
    for name, value in columns.items():
        if name in _AGES and value is not None:
            values.append(dialect.after(-value))
        else:
            values.append("%s")
            params.append(value)
    lock = "" if connection.in_atomic_block else _LOCKS.get(connection.vendor, "")
    sql = (
        f"INSERT INTO {_STEPS} (job_id, {dialect.quoted(list(columns))}) "
        f"SELECT id, {', '.join(values)} FROM {JOBS} "
        f"WHERE id = %s AND status = {RECORD.source} AND worker_id = %s AND claims = %s{lock}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, dialect.uuid(job_id), dialect.uuid(worker_id), claims])
        return bool(cursor.rowcount)


def holds_job(job_id: UUID, worker_id: UUID, claims: int, using: str, *, locks: bool) -> bool:
    """Return whether a worker has the job; with *locks* until the end of this transaction."""
    connection = connections[using]
    dialect = dialect_for(connection)
    lock = _LOCKS.get(connection.vendor, "") if locks else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT 1 FROM {JOBS} WHERE id = %s AND status = {RECORD.source} "
            f"AND worker_id = %s AND claims = %s{lock}",
            [dialect.uuid(job_id), dialect.uuid(worker_id), claims],
        )
        return cursor.fetchone() is not None
