"""The record of outcomes on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from ..status import Status
from ..transitions import RECORD, SUCCEED
from ..values import OUTCOME_TYPES, Outcome
from .postgresql_session import PostgreSQLSession
from .postgresql_text import NOW, SECOND, SQL_TYPES, array, id_array, number_array, text_array
from .tables import JOBS

_MILLISECOND = "interval '1 millisecond'"

# Nearly all outcomes are plain successes, which need five arrays. The server parses an element of
# each array for every job, so they have a statement of their own.
# A subquery around an array hides its length: the planner then expects few rows and takes each job
# by its key, where for a thousand it would read the whole table (7 and 138 µs a job). ANY(ARRAY[…])
# is no condition of a merge join: the planner would walk the whole key's index for one, if it makes
# the plan while the table has a few rows.
_WRITE_SUCCESSES = f"""
UPDATE {JOBS} AS j SET status = {SUCCEED.target}, result = new.result, error_class = '',
    error_message = '', started_at = {NOW} - new.began_ago * {_MILLISECOND},
    ended_at = {NOW} - new.ended_ago * {_MILLISECOND}, prune_at = {NOW} + %s * {SECOND}
FROM unnest((SELECT %s::uuid[]), (SELECT %s::int[]), (SELECT %s::text[]), (SELECT %s::bigint[]),
    (SELECT %s::bigint[]))
AS new (id, claims, result, began_ago, ended_ago)
WHERE j.id = ANY(ARRAY[new.id]) AND j.claims = new.claims
AND j.status = {RECORD.source} AND j.worker_id = %s
"""

# The arrays of _WRITE: what finds the row, its new columns, and what makes its times.
_WRITTEN_TYPES = {
    "id": "uuid", "claims": "bigint",
    **{name: SQL_TYPES[kind] for name, kind in OUTCOME_TYPES.items()},
    "began_ago": "float8", "ended_ago": "float8", "keep": "float8", "delay": "float8",
    "new_run_at": "timestamptz",
}  # fmt: skip

_WRITE = f"""
UPDATE {JOBS} AS j SET {", ".join(f"{name} = new.{name}" for name in OUTCOME_TYPES)},
    started_at = CASE WHEN new.status <> 'PENDING' THEN {NOW} - new.began_ago * {SECOND} END,
    ended_at = CASE WHEN new.status IN ('SUCCESS', 'FAILURE', 'REVOKED')
        THEN {NOW} - new.ended_ago * {SECOND} END,
    prune_at = {NOW} + new.keep * {SECOND},
    run_at = CASE WHEN new.status IN ('RETRY', 'SCHEDULED')
        THEN COALESCE(new.new_run_at, {NOW} + new.delay * {SECOND}) ELSE j.run_at END
FROM unnest({", ".join(f"(SELECT %s::{kind}[])" for kind in _WRITTEN_TYPES.values())})
AS new ({", ".join(_WRITTEN_TYPES)})
WHERE j.id = ANY(ARRAY[new.id]) AND j.claims = new.claims
AND j.status = {RECORD.source} AND j.worker_id = %s
"""

_LOCK = f"""
SELECT id FROM {JOBS} WHERE id = ANY((SELECT %s::uuid[])::uuid[]) AND status = {RECORD.source}
AND worker_id = %s ORDER BY id FOR UPDATE
"""


class Outcomes(PostgreSQLSession):
    """Writes the outcomes of many jobs with one statement, or with two."""

    def _write_outcomes(
        self, cursor: CursorWrapper, worker_id: UUID, outcomes: Sequence[Outcome]
    ) -> int:
        successes: dict[float | None, list[Outcome]] = {}
        others = []
        for outcome in outcomes:
            if outcome.status == Status.SUCCESS:
                successes.setdefault(outcome.keep_seconds, []).append(outcome)
            else:
                others.append(outcome)
        changed = 0
        if len(successes) + bool(others) > 1 and self.connection.in_atomic_block:
            # Each statement locks in order; this one locks in order for all of them.
            ids = [outcome.job.id for outcome in outcomes]
            cursor.execute(_LOCK, [ids, worker_id])
        for keep, group in successes.items():
            arrays = self._success_arrays(group)
            changed += self._change(cursor, _WRITE_SUCCESSES, [keep, *arrays, worker_id])
        if others:
            rows = [self._outcome_row(outcome) for outcome in others]
            arrays = [array(column) for column in zip(*rows, strict=True)]
            changed += self._change(cursor, _WRITE, [*arrays, worker_id])
        return changed

    def _success_arrays(self, outcomes: Sequence[Outcome]) -> list[str]:
        """Return the columns as array literals."""
        now = time.monotonic()
        jobs = [outcome.job for outcome in outcomes]
        results: list[Any] = [outcome.result for outcome in outcomes]
        return [
            id_array([job.id for job in jobs]),
            number_array([job.claims for job in jobs]),
            text_array(results) if None not in results else array(results),
            number_array([int((now - outcome.began) * 1000) for outcome in outcomes]),
            number_array([int((now - outcome.ended) * 1000) for outcome in outcomes]),
        ]

    def _outcome_row(self, outcome: Outcome) -> tuple[Any, ...]:
        return (
            outcome.job.id, outcome.job.claims, *outcome.written(), *outcome.ages(),
            outcome.keep_seconds, outcome.delay, outcome.run_at,
        )  # fmt: skip
