"""The record of a step: one statement that writes only while a worker has the job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connections

from ..transitions import RECORD
from .lookup import dialect_for
from .tables import JOBS

# Until the end of the transaction nobody may take the job from its worker.
_LOCKS = {"postgresql": " FOR SHARE", "mysql": " LOCK IN SHARE MODE"}


def insert_step(
    job_id: UUID,
    worker_id: UUID,
    values: Sequence[Any],
    ages: tuple[float | None, float | None],
    using: str,
) -> bool:
    """Insert the row of a step of a job that *worker_id* has; return False if it has it no more.

    *values* are those of :data:`~.tables.STEP_COLUMNS`; *ages* are the seconds since the step began
    and since it ended. Outside of a transaction the job stays the worker's until the commit. Inside
    of one its row is not locked, because the transaction may last, and others would wait for it.
    """
    connection = connections[using]
    dialect = dialect_for(connection)
    lock = "" if connection.in_atomic_block else _LOCKS.get(connection.vendor, "")
    return dialect.insert_step(job_id, worker_id, values, ages, lock)


def steps_of(job_id: UUID, using: str) -> list[tuple[Any, ...]] | None:
    """Return the steps of a job, in order: :data:`~.tables.LOADED_STEP`, and whether each is due.

    JSON is text. Returns None where only the ORM reads them.
    """
    return dialect_for(connections[using]).steps_of(job_id)


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
