from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from ..transitions import CLAIM, NOT_YET, PARENTS_ENDED, READY
from ..values import NewEdge
from .postgresql_claims import Claims
from .postgresql_inserts import Inserts
from .postgresql_outcomes import Outcomes
from .postgresql_steps import GIVE_EVENT, LOAD_STEPS, OFFER_EVENT, RECORD_STEP, SEND_EVENT
from .postgresql_text import NOW, kept_numbered
from .pruning import Pruned
from .tables import COMMANDS, EDGES, JOBS, OF_FEW_JOBS, OF_JOBS

_INSERT_EDGES = f"""
INSERT INTO {EDGES} (parent_id, child_id, kind, position)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::int[])
"""

# Locks the children in one order, so that transactions that end jobs of a group do not deadlock.
_COUNT_DOWN = f"""
WITH left_over AS MATERIALIZED (
    SELECT e.child_id, count(*) AS number
    FROM unnest((SELECT %s::uuid[]), (SELECT %s::bool[])) AS ended (id, good)
    JOIN {EDGES} e ON e.parent_id = ended.id
    WHERE ended.good OR e.kind = 'complete' GROUP BY e.child_id),
locked AS MATERIALIZED (
    SELECT j.id, left_over.number FROM left_over JOIN {JOBS} j ON j.id = left_over.child_id
    ORDER BY j.id FOR UPDATE OF j)
UPDATE {JOBS} AS j SET pending_parents = j.pending_parents - locked.number,
    status = CASE WHEN j.pending_parents > locked.number OR j.status <> {PARENTS_ENDED.source}
            OR j.waiting_for IS NOT NULL THEN j.status
        WHEN j.run_at > {NOW} THEN {NOT_YET} ELSE {READY} END,
    ready_at = CASE WHEN j.pending_parents > locked.number OR j.status <> {PARENTS_ENDED.source}
            OR j.waiting_for IS NOT NULL THEN j.ready_at ELSE {NOW} END
FROM locked WHERE j.id = locked.id
RETURNING j.id, j.queue, j.options, j.pending_parents <= 0 AND j.status IN ({READY}, {NOT_YET})
"""

# One statement, as the ids need not go to the client and back. The planner does not know how many
# rows ANY(ARRAY(...)) finds, and takes each by its index.
_THEIRS = ", ".join(
    f"theirs_{number} AS (DELETE FROM {table} "
    f"WHERE {column} = ANY(ARRAY(SELECT id FROM over)){condition})"
    for number, (table, column, condition) in enumerate(
        [
            *((table, column, "") for table, column in OF_JOBS),
            # The condition is checked once, before the table is read.
            *(
                (table, column, f" AND EXISTS (SELECT 1 FROM {table})")
                for table, column in OF_FEW_JOBS
            ),
        ]
    )
)
_PRUNE = f"""
WITH over (id, unique_key, place) AS MATERIALIZED ({{over}}),
{_THEIRS},
gone AS (DELETE FROM {JOBS} WHERE id = ANY(ARRAY(SELECT id FROM over)))
SELECT count(*), max(place), array_agg(unique_key) FILTER (WHERE unique_key IS NOT NULL),
    array_agg(id) FILTER (WHERE unique_key IS NOT NULL)
FROM over
"""

# A loose index scan: the next queue after each, until there is none.
_READY_QUEUES = f"""
WITH RECURSIVE ready (queue) AS (
    (SELECT queue FROM {JOBS} WHERE status = {CLAIM.source} ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM {JOBS} j WHERE j.status = {CLAIM.source} AND j.queue > ready.queue
        ORDER BY j.queue LIMIT 1)
    FROM ready WHERE ready.queue IS NOT NULL)
SELECT queue FROM ready WHERE queue IS NOT NULL
UNION ALL
SELECT '@' WHERE EXISTS (
    SELECT 1 FROM {JOBS} WHERE status IN ('SCHEDULED', 'RETRY') AND run_at <= {NOW})
UNION ALL
SELECT '!' WHERE EXISTS (SELECT 1 FROM {COMMANDS} WHERE done_at IS NULL)
"""


class PostgreSQL(Inserts, Claims, Outcomes):
    """PostgreSQL 14 and later, with psycopg 3."""

    def prune(self, cursor: CursorWrapper, most: int, place: Any) -> Pruned:
        sql, params = self._over(most, place)
        found = self.long_query(cursor, _PRUNE.format(over=sql), params)
        ((number, place, keys, ids),) = found
        return Pruned(number, place, list(zip(keys or (), ids or (), strict=True)))

    def insert_edges(self, cursor: CursorWrapper, edges: Sequence[NewEdge]) -> None:
        cursor.execute(_INSERT_EDGES, [list(column) for column in zip(*edges, strict=True)])

    def count_down(
        self, cursor: CursorWrapper, succeeded: Sequence[UUID], ended: Sequence[UUID]
    ) -> list[tuple[UUID, str, str | None]]:
        good = set(succeeded)
        cursor.execute(_COUNT_DOWN, [list(ended), [each in good for each in ended]])
        return [row[:-1] for row in cursor.fetchall() if row[-1]]

    def ready_queues(self, cursor: CursorWrapper) -> list[str]:
        cursor.execute(_READY_QUEUES)
        return [queue for (queue,) in cursor.fetchall()]

    def steps_of(self, job_id: UUID) -> list[tuple[Any, ...]] | None:
        if not self._past_cursors.is_open_to(self.connection):
            return None
        rows: list[tuple[Any, ...]] = self._past_cursors.rows(
            self.connection, LOAD_STEPS, [job_id.hex]
        )
        return rows

    def insert_step(
        self,
        job_id: UUID,
        worker_id: UUID,
        values: Sequence[Any],
        ages: Sequence[float | None],
        lock: str,
    ) -> bool:
        if not (lock and self._past_cursors.is_open_to(self.connection)):
            return super().insert_step(job_id, worker_id, values, ages, lock)
        params = [*values, *ages, job_id.hex, worker_id.hex, values[0]]
        statement = kept_numbered(RECORD_STEP + lock)
        return bool(self._past_cursors.change(self.connection, statement, params))

    def send_event(
        self, name: str, payload: str | None, result: str | None, keep: float
    ) -> tuple[int, bool] | None:
        if not self._past_cursors.is_open_to(self.connection):
            return None
        insert = SEND_EVENT, self._texts([name, payload, keep])
        offer = OFFER_EVENT, self._texts([name, result])
        (event_id,), given = self._direct.in_turn(self.connection, insert, offer)
        return event_id, given is not None and bool(given[0])

    def give_event(
        self, cursor: CursorWrapper, event_id: int, wait_id: int, job_id: UUID, result: str | None
    ) -> tuple[bool, bool]:
        # Within a savepoint the transaction is another's, and so is its setting.
        early = None if self.connection.savepoint_ids else "off"
        cursor.execute(GIVE_EVENT, [event_id, job_id, wait_id, result, early])
        had_event, had_wait, *_ = cursor.fetchone()
        return had_event, had_wait
