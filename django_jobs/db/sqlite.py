from __future__ import annotations

import contextlib
import datetime
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from ..status import ENDED, TIMED, Status
from ..transitions import CLAIM, RECORD, SUCCEED
from ..values import CLAIMED_TYPES, OUTCOME_TYPES, Claimed, NewJob, Outcome
from .base import Dialect
from .pruning import Pruned
from .tables import CLAIMED_IDS, COMMANDS, JOBS, NEW_COLUMNS, NEW_FIELDS, OF_JOBS, QUEUES, WORKERS
from .turns import Head, in_order_of

_COLUMNS = ", ".join(CLAIMED_TYPES)

_INSERT = (
    f"INSERT INTO {JOBS} ({', '.join(NEW_COLUMNS)}) VALUES ({', '.join(['%s'] * len(NEW_COLUMNS))})"
)
# The positions of the times that a call may give in seconds.
_ETA, _EXPIRES_AT = NEW_FIELDS.index("eta"), NEW_FIELDS.index("expires_at")

_FIRST = (
    f"SELECT * FROM (SELECT id, rank FROM {JOBS} WHERE status = {CLAIM.source} AND queue = %s "
    f"AND NOT EXISTS (SELECT 1 FROM {QUEUES} q WHERE q.name = %s AND q.paused_at IS NOT NULL) "
    "ORDER BY rank, id LIMIT %s)"
)

# SQLite takes at most 500 terms in a compound SELECT. This form takes any number of queues, and is
# slower for a few.
_FIRST_OF_MANY = (
    f"SELECT j.id, j.rank FROM json_each(%s) AS wanted CROSS JOIN {JOBS} j WHERE j.id IN ("
    f"SELECT id FROM {JOBS} WHERE status = {CLAIM.source} AND queue = wanted.value "
    f"AND NOT EXISTS (SELECT 1 FROM {QUEUES} q WHERE q.name = wanted.value "
    "AND q.paused_at IS NOT NULL) ORDER BY rank, id LIMIT %s)"
)
_FEW_QUEUES = 100

_CLAIM = f"""
UPDATE {JOBS} SET status = {CLAIM.target}, claims = claims + 1, worker_id = %s, started_at = %s
WHERE id IN ({{ids}})
AND EXISTS (SELECT 1 FROM {WORKERS} w
    WHERE w.id = %s AND w.lost_at IS NULL AND w.lease_until > %s)
RETURNING {_COLUMNS}, COALESCE((julianday(%s) - julianday(ready_at)) * 86400, 0)
"""

_CLAIM_FIRST = _CLAIM.format(ids="SELECT id FROM ({first}) ORDER BY rank, id LIMIT %s")
_CLAIM_THESE = _CLAIM.format(
    ids=f"SELECT j.id FROM json_each(%s) AS wanted CROSS JOIN {JOBS} j ON j.id = wanted.value "
    f"WHERE j.status = {CLAIM.source} ORDER BY wanted.key LIMIT %s"
)

_WRITE = f"""
UPDATE {JOBS} SET {", ".join(f"{name} = %s" for name in OUTCOME_TYPES)},
    started_at = %s, ended_at = %s, prune_at = %s, run_at = COALESCE(%s, run_at)
WHERE id = %s AND status = {RECORD.source} AND worker_id = %s AND claims = %s
"""

# What nearly all jobs need, as one statement: between the rows of several the interpreter's lock is
# let go, and the threads that run jobs have it for some milliseconds each time. CROSS JOIN keeps
# the order: each job is found by its key.
_WRITE_SUCCESSES = f"""
UPDATE {JOBS} SET status = {SUCCEED.target}, result = new.result, error_class = '',
    error_message = '', started_at = new.started_at, ended_at = new.ended_at,
    prune_at = new.prune_at
FROM (SELECT j.id, json_extract(value, '$[2]') AS result, json_extract(value, '$[3]') AS started_at,
        json_extract(value, '$[4]') AS ended_at, json_extract(value, '$[5]') AS prune_at
    FROM json_each(%s) CROSS JOIN {JOBS} j ON j.id = json_extract(value, '$[0]')
    WHERE j.status = {SUCCEED.source} AND j.worker_id = %s
    AND j.claims = json_extract(value, '$[1]')) AS new
WHERE {JOBS}.id = new.id
"""

_READY_QUEUES = f"""
WITH RECURSIVE ready (queue) AS (
    SELECT min(queue) FROM {JOBS} WHERE status = {CLAIM.source}
    UNION ALL
    SELECT (SELECT min(j.queue) FROM {JOBS} j
        WHERE j.status = {CLAIM.source} AND j.queue > ready.queue)
    FROM ready WHERE ready.queue IS NOT NULL)
SELECT queue FROM ready WHERE queue IS NOT NULL
UNION ALL
SELECT '@' WHERE EXISTS (
    SELECT 1 FROM {JOBS} WHERE status IN ('SCHEDULED', 'RETRY') AND run_at <= %s)
UNION ALL
SELECT '!' WHERE EXISTS (SELECT 1 FROM {COMMANDS} WHERE done_at IS NULL)
"""


class SQLite(Dialect):
    """The database's clock is this host's: a SQLite file is never shared between hosts."""

    wakeup = "data_version"
    poll_seconds = (0.005, 0.025)
    insert_chunk = 10_000

    @property
    def now(self) -> str:
        return self.after(0)

    @property
    def unix_time(self) -> str:
        return repr(self.stands_at.timestamp() if self.stands_at else time.time())

    def clock_texts(self, moment: datetime.datetime) -> Mapping[str, str]:
        return {}  # the statements hold the time itself, which is of _time()

    def _time(self) -> datetime.datetime:
        moment = self.stands_at
        if moment is None or settings.USE_TZ:
            return moment or timezone.now()
        return timezone.make_naive(moment)

    def after(self, seconds: float) -> str:
        return f"'{self._clock(seconds)}'"

    def _clock(self, seconds: float = 0, now: datetime.datetime | None = None) -> str:
        moment = (now or self._time()) + datetime.timedelta(seconds=seconds)
        return str(self.datetime(moment))

    def insert(self, cursor: CursorWrapper, rows: Sequence[NewJob]) -> None:
        now = self._time()
        written_at = self.datetime(now)

        def parameters(row: NewJob) -> tuple[Any, ...]:
            values = self.new_parameters(row)
            for at, seconds in ((_ETA, row.countdown), (_EXPIRES_AT, row.expires_in)):
                if values[at] is None and seconds is not None:
                    values[at] = self.datetime(now + datetime.timedelta(seconds=seconds))
            ready_at = written_at if row.status == Status.PENDING else None
            return (*values, written_at, ready_at)

        self._execute_all(cursor, _INSERT, [parameters(row) for row in rows])

    def _execute_all(self, cursor: CursorWrapper, sql: str, rows: list[tuple[Any, ...]]) -> None:
        # Without a transaction, each row would be one by itself.
        together = transaction.atomic(self.connection.alias, savepoint=False)
        with together if len(rows) > 1 else contextlib.nullcontext():
            cursor.executemany(sql, rows)

    def claim(
        self, worker_id: UUID, queues: Sequence[str], limit: int
    ) -> tuple[list[Claimed], bool]:
        now = self._clock()
        params: list[Any] = [worker_id.hex, now]
        if len(queues) <= _FEW_QUEUES:
            first = " UNION ALL ".join([_FIRST] * len(queues))
            for queue in queues:
                params += [queue, queue, limit]
        else:
            first = _FIRST_OF_MANY
            params += [json.dumps(queues), limit]
        params += [limit, worker_id.hex, now, now]
        # An UPDATE takes the write lock before it reads, so no other statement comes between.
        with self.connection.cursor() as cursor:
            cursor.execute(_CLAIM_FIRST.format(first=first), params)
            rows = cursor.fetchall()
        jobs = [self._claimed(row, now) for row in rows]
        jobs.sort(key=lambda job: (job.rank, job.id.int))
        return jobs, False

    def first_ready(self, worker_id: UUID, queues: Sequence[str], most: int) -> list[Head]:
        sql = (
            f"SELECT id, rank FROM {JOBS} WHERE status = {CLAIM.source} AND queue = %s "
            f"AND {self.claimable()} ORDER BY rank, id LIMIT %s"
        )
        found: list[Head] = []
        for queue in queues:
            rows = self._rows(sql, [queue, worker_id.hex, queue, most])
            found += [Head(UUID(job_id), rank, queue) for job_id, rank in rows]
        return sorted(found, key=lambda head: (head.rank, head.id.int))[:most]

    def claim_these(self, worker_id: UUID, ids: Sequence[UUID], limit: int) -> list[Claimed]:
        now, wanted = self._clock(), json.dumps([job_id.hex for job_id in ids])
        params = [worker_id.hex, now, wanted, limit, worker_id.hex, now, now]
        jobs = [self._claimed(row, now) for row in self._rows(_CLAIM_THESE, params)]
        return in_order_of(ids, jobs)

    def _claimed(self, row: Sequence[Any], now: str) -> Claimed:
        *columns, waited = row
        job = Claimed(*(*columns, False, waited))
        for name in CLAIMED_IDS:
            if (value := getattr(job, name)) is not None:
                setattr(job, name, UUID(value))
        job.has_dependents = bool(job.has_dependents)
        if job.expires_at is not None:
            job.expired = str(job.expires_at) <= now
            job.expires_at = self._moment(job.expires_at)
        if job.run_at is not None:
            job.run_at = self._moment(job.run_at)
        return job

    def _moment(self, text: Any) -> datetime.datetime | None:
        try:
            moment = datetime.datetime.fromisoformat(text) if isinstance(text, str) else text
        except ValueError:  # edited by hand into no time; the database has compared it as a text
            return None
        aware = self.connection.timezone is not None and timezone.is_naive(moment)
        return timezone.make_aware(moment, self.connection.timezone) if aware else moment

    def _write_outcomes(
        self, cursor: CursorWrapper, worker_id: UUID, outcomes: Sequence[Outcome]
    ) -> int:
        successes = [outcome for outcome in outcomes if outcome.status == Status.SUCCESS]
        others = [outcome for outcome in outcomes if outcome.status != Status.SUCCESS]
        changed = 0
        if successes:
            cursor.execute(_WRITE_SUCCESSES, [self._success_rows(successes), worker_id.hex])
            changed += cursor.rowcount
        if others:
            rows = [self._outcome_row(outcome, worker_id) for outcome in others]
            self._execute_all(cursor, _WRITE, rows)
            changed += cursor.rowcount
        return changed

    def _success_rows(self, outcomes: Sequence[Outcome]) -> str:
        moment, now = self._time(), time.monotonic()
        if timezone.is_aware(moment):
            moment = timezone.make_naive(moment, self.connection.timezone)

        def clock(seconds: float) -> str:
            return str(moment + datetime.timedelta(seconds=seconds))

        pruned = {
            keep: None if keep is None else clock(keep)
            for keep in {outcome.keep_seconds for outcome in outcomes}
        }
        rows = [
            (
                outcome.job.id.hex, outcome.job.claims, outcome.result,
                clock(outcome.began - now), clock(outcome.ended - now),
                pruned[outcome.keep_seconds],
            )
            for outcome in outcomes
        ]  # fmt: skip
        return json.dumps(rows, ensure_ascii=False)

    def _outcome_row(self, outcome: Outcome, worker_id: UUID) -> tuple[Any, ...]:
        job, status = outcome.job, outcome.status
        run_at = None
        if status in TIMED:
            run_at = self.datetime(outcome.run_at) or self._clock(outcome.delay or 0)
        keep = outcome.keep_seconds
        now = self._time()
        began_ago, ended_ago = outcome.ages()
        return (
            *outcome.written(),
            None if status == Status.PENDING else self._clock(-began_ago, now),
            self._clock(-ended_ago, now) if status in ENDED else None,
            None if keep is None else self._clock(keep),
            run_at, job.id.hex, worker_id.hex, job.claims,
        )  # fmt: skip

    def ready_queues(self, cursor: CursorWrapper) -> list[str]:
        cursor.execute(_READY_QUEUES, [self._clock()])
        return [queue for (queue,) in cursor.fetchall()]

    def prune(self, cursor: CursorWrapper, most: int, place: Any) -> Pruned:
        def delete(ids: Sequence[Any]) -> None:
            # To bind a thousand parameters takes as long as half of the deletion.
            wanted = [json.dumps(ids)]
            for table, column in (*OF_JOBS, (JOBS, "id")):
                cursor.execute(
                    f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(%s))",
                    wanted,
                )

        return self._prune_found(cursor, self._over(most, place), delete)

    def version(self) -> int | None:
        self.connection.ensure_connection()
        raw: Any = self.connection.connection
        with self.connection.wrap_database_errors:
            return int(raw.execute("PRAGMA data_version").fetchone()[0])

    @classmethod
    def tune(cls, settings: dict[str, Any]) -> None:
        options = settings.setdefault("OPTIONS", {})
        # A transaction that reads first and then writes fails at once when another wrote between.
        options["transaction_mode"] = "IMMEDIATE"
        options["timeout"] = max(options.get("timeout", 0), 30)
