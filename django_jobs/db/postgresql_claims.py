"""The claims of PostgreSQL: of one queue, of several, and of the jobs that fair queues chose."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from ..transitions import CLAIM
from ..values import CLAIMED_TYPES, Claimed
from .base import Dialect
from .claim_cursor import Beginnings
from .postgresql_session import PostgreSQLSession
from .postgresql_text import NOW, array, id_array
from .tables import CLAIMED_TIMES, JOBS, WORKERS
from .turns import NO_KEY, Head, in_order_of

# A time that Python cannot tell would fail the claim of all jobs beside it.
_TIMES = {name: f"{Dialect.readable(name)} AS {name}" for name in CLAIMED_TIMES}
_COLUMNS = ", ".join(_TIMES.get(name, name) for name in CLAIMED_TYPES)
_FIRST_ID = UUID(int=0)
_LOWEST, _HIGHEST = -32_768, 32_767  # of a smallint, as the rank is

# With 'off' the claim commits asynchronously: a crash of the database may take it back (see
# run/reassert.py). NULL leaves the setting as it is. It holds to the end of the transaction, so
# whatever else the session commits is on disk when it is answered.
_SETTING = """
setting AS (SELECT set_config('synchronous_commit',
    COALESCE(%s, current_setting('synchronous_commit')), TRUE))
"""
# ARRAY(...) runs once, before the UPDATE; an IN (...) may be run again for each row, beyond LIMIT.
_CLAIM_ONE = """
WITH {setting}, claimed AS (
    UPDATE {jobs} SET status = {target}, claims = claims + 1, worker_id = %s, started_at = {now}
    WHERE id = ANY(ARRAY(
        SELECT id FROM {jobs} WHERE status = {source} AND {claimable} AND queue = %s
        ORDER BY rank, id LIMIT %s FOR UPDATE SKIP LOCKED))
    AND {locked}
    RETURNING {columns}, (expires_at <= {now}) IS TRUE AS expired,
        COALESCE(date_part('epoch', {now} - ready_at), 0) AS waited)
SELECT claimed.* FROM claimed, setting ORDER BY rank, id
"""

# A claim locks its worker's row, so that a clean-up can wait for the end of a COMMIT whose answer
# was lost. CASE puts it off to the first job: a claim that finds none writes nothing. A heartbeat,
# which changes no key, does not wait for this lock.
_LOCKED = f"""
CASE WHEN queue IS NOT NULL THEN EXISTS (
    SELECT 1 FROM {WORKERS} w WHERE w.id = %s AND w.lost_at IS NULL AND w.lease_until > {NOW}
    FOR KEY SHARE) END
"""

_CLAIM_NAMES = {
    "jobs": JOBS, "now": NOW, "columns": _COLUMNS, "locked": _LOCKED,
    "source": CLAIM.source, "target": CLAIM.target, "setting": _SETTING,
}  # fmt: skip

# One ORDER BY over several queues would sort the whole backlog. The first rows of each range of a
# queue come from the index, and the claim locks only as many of them as it takes. The last column
# counts the candidates: another transaction has locked those that were not claimed. The second look
# at the status is an expression that matches no index: the planner would read all of the claim's
# index for it, and the dead entries that an open transaction keeps.
_CLAIM_SEVERAL = """
WITH {setting}, candidate AS MATERIALIZED (
    SELECT first.id FROM unnest(%s::text[], %s::smallint[], %s::uuid[], %s::smallint[])
        AS wanted (name, from_rank, from_id, to_rank)
    CROSS JOIN LATERAL (
        SELECT id, rank FROM {jobs} j
        WHERE j.status = {source} AND j.queue = wanted.name
        AND (j.rank, j.id) >= (wanted.from_rank, wanted.from_id) AND j.rank <= wanted.to_rank
        ORDER BY j.rank, j.id LIMIT %s) AS first
    WHERE EXISTS (SELECT 1 FROM django_jobs_worker w
        WHERE w.id = %s AND w.lost_at IS NULL AND w.lease_until > {now})
    AND NOT EXISTS (SELECT 1 FROM django_jobs_queue q
        WHERE q.name = wanted.name AND q.paused_at IS NOT NULL)
    ORDER BY first.rank, first.id LIMIT %s),
claimed AS (
    UPDATE {jobs} SET status = {target}, claims = claims + 1, worker_id = %s, started_at = {now}
    WHERE id = ANY(ARRAY(
        SELECT id FROM {jobs} WHERE id = ANY(ARRAY(SELECT id FROM candidate))
        AND status || '' = {source} ORDER BY rank, id LIMIT %s FOR UPDATE SKIP LOCKED))
    AND {locked}
    RETURNING {columns}, (expires_at <= {now}) IS TRUE AS expired,
        COALESCE(date_part('epoch', {now} - ready_at), 0) AS waited)
SELECT claimed.*, seen.n FROM (SELECT count(*) AS n FROM candidate) AS seen CROSS JOIN setting
LEFT JOIN claimed ON TRUE ORDER BY claimed.rank, claimed.id
""".format(**_CLAIM_NAMES)

# The first jobs of each key, and the candidates of plain queues for a claim that has fair ones.
_HEADS = f"""
SELECT wanted.number, first.id, first.rank
FROM unnest(%s::text[], %s::int[]) WITH ORDINALITY AS wanted (key, most, number)
CROSS JOIN LATERAL (
    SELECT id, rank FROM {JOBS} j
    WHERE j.status = {CLAIM.source} AND j.fair_key IS NOT NULL
    AND j.queue = %s AND j.fair_key = wanted.key
    ORDER BY j.rank, j.id LIMIT wanted.most) AS first
"""
_OLDEST_KEYLESS = f"""
SELECT id, rank FROM (SELECT id, rank, fair_key FROM {JOBS} j
    WHERE j.status = {CLAIM.source} AND j.queue = %s ORDER BY j.rank, j.id LIMIT %s) AS oldest
WHERE fair_key IS NULL
"""
_FIRST_READY = f"""
SELECT first.id, first.rank, wanted.name
FROM unnest(%s::text[], %s::smallint[], %s::uuid[], %s::smallint[])
    AS wanted (name, from_rank, from_id, to_rank)
CROSS JOIN LATERAL (
    SELECT id, rank FROM {JOBS} j
    WHERE j.status = {CLAIM.source} AND j.queue = wanted.name
    AND (j.rank, j.id) >= (wanted.from_rank, wanted.from_id) AND j.rank <= wanted.to_rank
    ORDER BY j.rank, j.id LIMIT %s) AS first
WHERE EXISTS (SELECT 1 FROM {WORKERS} w
    WHERE w.id = %s AND w.lost_at IS NULL AND w.lease_until > {NOW})
AND NOT EXISTS (SELECT 1 FROM django_jobs_queue q
    WHERE q.name = wanted.name AND q.paused_at IS NOT NULL)
ORDER BY first.rank, first.id LIMIT %s
"""
_CLAIM_THESE = """
WITH {setting}, claimed AS (
    UPDATE {jobs} SET status = {target}, claims = claims + 1, worker_id = %s, started_at = {now}
    WHERE id = ANY(ARRAY(
        SELECT j.id FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted (id, place)
        JOIN {jobs} j ON j.id = ANY(ARRAY[wanted.id]) AND j.status || '' = {source}
        ORDER BY wanted.place LIMIT %s FOR UPDATE OF j SKIP LOCKED))
    AND {locked}
    RETURNING {columns}, (expires_at <= {now}) IS TRUE AS expired,
        COALESCE(date_part('epoch', {now} - ready_at), 0) AS waited)
SELECT claimed.* FROM claimed, setting
""".format(**_CLAIM_NAMES)


def _ranges(queues: Sequence[str], beginnings: Beginnings) -> Iterator[str]:
    """Return where in the claim's index to look: queues, first ranks, first ids, last ranks.

    Each is an array literal.
    """
    ranges: list[tuple[str, int, UUID, int]] = []
    for queue in queues:
        if queue in beginnings:
            rank, job_id = beginnings[queue]
            ranges.append((queue, rank, job_id, _HIGHEST))
            last = rank - 1
        else:
            last = _HIGHEST
        ranges.append((queue, _LOWEST, _FIRST_ID, last))
    return map(array, zip(*ranges, strict=True))


class Claims(PostgreSQLSession):
    """Makes ready jobs STARTED, each claim with one statement."""

    def claim(
        self, worker_id: UUID, queues: Sequence[str], limit: int
    ) -> tuple[list[Claimed], bool]:
        if self.claim_cursor is None:
            return self._claim(worker_id, queues, limit, {})
        return self.claim_cursor.claim(
            lambda beginnings: self._claim(worker_id, queues, limit, beginnings)
        )

    def expect_older(self) -> None:
        if self.claim_cursor is not None:
            self.claim_cursor.forget()

    def _claim(
        self, worker_id: UUID, queues: Sequence[str], limit: int, beginnings: Beginnings
    ) -> tuple[list[Claimed], bool]:
        commit = "off" if self._is_own_session and not self._claims_durably else None
        if len(queues) == 1 and queues[0] not in beginnings:
            queue = queues[0]
            params = [commit, worker_id, worker_id, queue, queue, limit, worker_id]
            return [Claimed(*row) for row in self._rows(self._claim_one, params)], False
        ranges = list(_ranges(queues, beginnings))

        def several(wanted: int) -> tuple[list[Claimed], int]:
            ids = [wanted, worker_id, wanted, worker_id, limit, worker_id]
            rows = self._rows(_CLAIM_SEVERAL, [commit, *ranges, *ids])
            return [Claimed(*row[:-1]) for row in rows if row[0] is not None], rows[0][-1]

        return self._claim_widening(limit, several)

    def heads(self, queue: str, most: Mapping[str, int]) -> dict[str, list[Head]]:
        found: dict[str, list[Head]] = {key: [] for key in most}
        keys = [key for key in most if key != NO_KEY]
        if keys:
            arrays = [array(keys), array([most[key] for key in keys])]
            for number, job_id, rank in self._rows(_HEADS, [*arrays, queue]):
                key = keys[number - 1]
                found[key].append(Head(job_id, rank, queue, key))
        if NO_KEY in most:
            rows = self._rows(_OLDEST_KEYLESS, [queue, most[NO_KEY]])
            found[NO_KEY] = [Head(job_id, rank, queue) for job_id, rank in rows]
        return found

    def first_ready(self, worker_id: UUID, queues: Sequence[str], most: int) -> list[Head]:
        def first(beginnings: Beginnings) -> tuple[list[Head], bool]:
            rows = self._rows(_FIRST_READY, [*_ranges(queues, beginnings), most, worker_id, most])
            return list(itertools.starmap(Head, rows)), False

        if self.claim_cursor is None:
            return first({})[0]
        return self.claim_cursor.claim(first)[0]

    def claim_these(self, worker_id: UUID, ids: Sequence[UUID], limit: int) -> list[Claimed]:
        commit = "off" if self._is_own_session and not self._claims_durably else None
        params = [commit, worker_id, id_array(ids), limit, worker_id]
        jobs = [Claimed(*row) for row in self._rows(_CLAIM_THESE, params)]
        return in_order_of(ids, jobs)

    @functools.cached_property
    def _claim_one(self) -> str:
        return _CLAIM_ONE.format(claimable=self.claimable(), **_CLAIM_NAMES)

    def keep_claims(self, needed: bool) -> None:
        if needed and self._is_own_session and not self._claims_durably:
            self._rows(self._direct.FLUSH, [])
        self._claims_durably = needed
