"""The rows of steps and of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from ..transitions import RECORD
from .sql import SQL
from .tables import JOBS, STEP_COLUMNS, STEPS

INSERT_STEP = f"""
INSERT INTO {STEPS} (job_id, {{columns}}, began_at, ended_at)
SELECT id, {", ".join(["%s"] * len(STEP_COLUMNS))}, {{began}}, {{ended}} FROM {JOBS}
WHERE id = %s AND status = {RECORD.source} AND worker_id = %s AND claims = %s
"""


class StepRows(SQL):
    """Writes steps and gives events, with one statement where the database can."""

    def steps_of(self, job_id: UUID) -> list[tuple[Any, ...]] | None:
        """Return the steps of a job, in order: :data:`~.tables.LOADED_STEP`; None: ask the ORM."""
        return None

    def insert_step(
        self,
        job_id: UUID,
        worker_id: UUID,
        values: Sequence[Any],
        ages: Sequence[float | None],
        lock: str,
    ) -> bool:
        """Insert the row of a step; return whether *worker_id* has the job.

        *values* are those of :data:`~.tables.STEP_COLUMNS`, the job's claims first. *lock* ends the
        search for the job.
        """
        moments = ["NULL" if age is None else self.after(-age) for age in ages]
        sql = INSERT_STEP.format(
            columns=self.quoted(STEP_COLUMNS), began=moments[0], ended=moments[1]
        )
        fence = [self.uuid(job_id), self.uuid(worker_id), values[0]]
        with self.connection.cursor() as cursor:
            cursor.execute(sql + lock, [*values, *fence])
            return bool(cursor.rowcount)

    def send_event(
        self, name: str, payload: str | None, result: str | None, keep: float
    ) -> tuple[int, bool] | None:
        """Insert an event that one job takes, commit, and give it to the job that waits for it.

        The job goes on with *result*; *payload* and *result* are JSON, *keep* is in seconds.
        Returns the id of the event, and whether nothing is left to do. If not, the event must be
        offered. Returns None, without having done anything, where that is not one round trip.
        """
        return None

    def give_event(
        self, cursor: CursorWrapper, event_id: int, wait_id: int, job_id: UUID, result: str | None
    ) -> tuple[bool, bool] | None:
        """Delete an event and the wait of a WAITING job, which goes on with *result*, JSON.

        Returns whether there was the event, and whether the wait was open. The open transaction may
        commit only if both are true. It then wakes workers, and need not wait for the disk: if a
        crash takes it back, event and wait are there again. Returns None, without having done
        anything, where several statements must do it.
        """
        return None
