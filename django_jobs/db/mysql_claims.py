"""The claims of MariaDB and MySQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from ..transitions import CLAIM
from ..values import CLAIMED_TYPES, Claimed
from .base import Dialect
from .tables import (
    CLAIMED_IDS,
    CLAIMED_TIMES,
    JOBS,
    WORKERS,
    as_uuid,
)
from .turns import NO_KEY, Head, in_order_of

# Most queues in one statement: each takes three tables from the server's cache.
_QUEUES = 50


class Claims(Dialect):
    """Makes ready jobs STARTED: a SELECT locks them, and an UPDATE starts them."""

    def claim(
        self, worker_id: UUID, queues: Sequence[str], limit: int
    ) -> tuple[list[Claimed], bool]:
        if len(queues) > 1:
            return self._claim_widening(
                limit, lambda wanted: self._claim_several(worker_id, queues, limit, wanted)
            )
        with transaction.atomic(self.connection.alias), self.connection.cursor() as cursor:
            condition = (
                f"status = {CLAIM.source} AND queue = %s AND {self.claimable()} "
                "ORDER BY `rank`, id LIMIT %s"
            )
            jobs = self._lock(
                cursor, condition, [queues[0], self.uuid(worker_id), queues[0], limit]
            )
            self._start(cursor, worker_id, jobs)
        return jobs, False

    def _claim_several(
        self, worker_id: UUID, queues: Sequence[str], limit: int, wanted: int
    ) -> tuple[list[Claimed], int]:
        with transaction.atomic(self.connection.alias), self.connection.cursor() as cursor:
            ids = [row[0] for row in self._first(cursor, worker_id, queues, wanted)]
            if not ids:
                return [], 0
            condition = f"id IN ({', '.join(['%s'] * len(ids))}) AND status = {CLAIM.source}"
            jobs = self._lock(cursor, condition, ids)
            jobs.sort(key=lambda job: (job.rank, job.id.int))
            del jobs[limit:]
            self._start(cursor, worker_id, jobs)
        return jobs, len(ids)

    def _first(
        self, cursor: CursorWrapper, worker_id: UUID, queues: Sequence[str], limit: int
    ) -> list[tuple[Any, int]]:
        first = (
            f"(SELECT id, `rank` FROM {JOBS} WHERE status = {CLAIM.source} AND queue = %s "
            f"AND {self.claimable()} ORDER BY `rank`, id LIMIT %s)"
        )
        found: list[tuple[Any, int]] = []
        for start in range(0, len(queues), _QUEUES):
            some = queues[start : start + _QUEUES]
            params: list[Any] = []
            for queue in some:
                params += [queue, self.uuid(worker_id), queue, limit]
            cursor.execute(
                f"SELECT id, `rank` FROM ({' UNION ALL '.join([first] * len(some))}) AS first "
                "ORDER BY `rank`, id LIMIT %s",
                [*params, limit],
            )
            found += cursor.fetchall()
        if len(queues) > _QUEUES:
            found.sort(key=lambda row: (row[1], row[0]))
        return found[:limit]

    def ready_keys(
        self, worker_id: UUID, queue: str, place: str, most: int, *, again: bool
    ) -> list[str]:
        # One probe for each key. The server reads a whole queue for the next key after each row of
        # a query: it makes a range of an index from constants only.
        found: list[str] = []
        with self.connection.cursor() as cursor:
            may_claim = f"SELECT 1 FROM DUAL WHERE {self.claimable()}"
            cursor.execute(may_claim, [self.uuid(worker_id), queue])
            if cursor.fetchone() is None:
                return found

            def walk(comparison: str, key: str, until: str = "", last: Sequence[str] = ()) -> None:
                while len(found) < most:
                    cursor.execute(
                        f"SELECT fair_ready_key FROM {JOBS} WHERE queue = %s AND fair_ready_key "
                        f"{comparison} %s {until} ORDER BY fair_ready_key LIMIT 1",
                        [queue, key, *last],
                    )
                    row = cursor.fetchone()
                    if row is None:
                        return
                    comparison, key = ">", row[0]
                    found.append(key)

            walk(">=" if again else ">", place)
            if len(found) < most:
                cursor.execute(self._is_oldest_keyless, [queue])
                row = cursor.fetchone()
                found += [NO_KEY] if row and row[0] else []
            walk(">", NO_KEY, f"AND fair_ready_key {'<' if again else '<='} %s", [place])
        return found

    def first_ready(self, worker_id: UUID, queues: Sequence[str], most: int) -> list[Head]:
        with self.connection.cursor() as cursor:
            rows = self._first(cursor, worker_id, queues, most)
        return [Head(as_uuid(job_id), rank) for job_id, rank in rows]

    def claim_these(self, worker_id: UUID, ids: Sequence[UUID], limit: int) -> list[Claimed]:
        with transaction.atomic(self.connection.alias), self.connection.cursor() as cursor:
            condition = f"id IN ({', '.join(['%s'] * len(ids))}) AND status = {CLAIM.source}"
            jobs = in_order_of(ids, self._lock(cursor, condition, self.uuids(ids)))
            del jobs[limit:]
            self._start(cursor, worker_id, jobs)
        return jobs

    def _lock(self, cursor: CursorWrapper, condition: str, params: Sequence[Any]) -> list[Claimed]:
        cursor.execute(
            f"SELECT {self.quoted(list(CLAIMED_TYPES))}, COALESCE(expires_at <= {self.now}, 0), "
            f"COALESCE(TIMESTAMPDIFF(MICROSECOND, ready_at, {self.now}), 0) / 1e6 FROM {JOBS} "
            f"WHERE {condition} FOR UPDATE SKIP LOCKED",
            params,
        )
        return [self._claimed(row) for row in cursor.fetchall()]

    def _start(self, cursor: CursorWrapper, worker_id: UUID, jobs: list[Claimed]) -> None:
        if not jobs:
            return
        # The worker's row stays locked until the COMMIT took effect, for a clean-up that waits for
        # it when the answer was lost.
        cursor.execute(
            f"UPDATE {JOBS} SET status = {CLAIM.target}, claims = claims + 1, worker_id = %s, "
            f"started_at = {self.now} WHERE id IN ({', '.join(['%s'] * len(jobs))}) "
            f"AND EXISTS (SELECT 1 FROM {WORKERS} w WHERE w.id = %s AND w.lost_at IS NULL "
            f"AND w.lease_until > {self.now} LOCK IN SHARE MODE)",
            [self.uuid(worker_id), *self.uuids([job.id for job in jobs]), self.uuid(worker_id)],
        )
        if not cursor.rowcount:
            jobs.clear()

    def _claimed(self, row: Sequence[Any]) -> Claimed:
        job = Claimed(*row)
        job.claims += 1
        job.has_dependents, job.expired = bool(job.has_dependents), bool(job.expired)
        for name in CLAIMED_IDS:
            value = getattr(job, name)
            if value is not None and not isinstance(value, UUID):
                setattr(job, name, UUID(value))
        for name in CLAIMED_TIMES:
            value = getattr(job, name)
            if value is not None and settings.USE_TZ and timezone.is_naive(value):
                setattr(job, name, timezone.make_aware(value, self.connection.timezone))
        return job
