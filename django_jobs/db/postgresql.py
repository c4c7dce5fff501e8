from __future__ import annotations

import datetime
import functools
import itertools
import operator
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ..status import Status
from ..transitions import CLAIM, NOT_YET, PARENTS_ENDED, READY, RECORD, SUCCEED
from ..values import (
    CLAIMED_TYPES,
    NEW_TYPES,
    OUTCOME_TYPES,
    Claimed,
    NewEdge,
    NewJob,
    Outcome,
)
from .alike import AlikeJobs
from .base import (
    CLAIMED_TIMES,
    COMMANDS,
    EDGES,
    JOBS,
    NEW_COLUMNS,
    NEW_FIELDS,
    OF_FEW_JOBS,
    OF_JOBS,
    SECONDS_OF,
    WORKERS,
    Capacity,
    Dialect,
    Pruned,
    pieces_of,
)
from .claim_cursor import Beginnings, ClaimCursor
from .postgresql_steps import GIVE_EVENT, LOAD_STEPS, OFFER_EVENT, RECORD_STEP, SEND_EVENT
from .postgresql_text import (
    CHANNEL,
    NOW,
    SECOND,
    array,
    id_array,
    number_array,
    numbered,
    text_array,
)
from .reconnect import in_own_transaction
from .turns import NO_KEY, Head, in_order_of

_MILLISECOND = "interval '1 millisecond'"
# A time that Python cannot tell would fail the claim of all jobs beside it.
_TIMES = {name: f"{Dialect.readable(name)} AS {name}" for name in CLAIMED_TIMES}
_COLUMNS = ", ".join(_TIMES.get(name, name) for name in CLAIMED_TYPES)
_FIRST_ID = UUID(int=0)
_LOWEST, _HIGHEST = -32_768, 32_767  # of a smallint, as the rank is

_SQL_TYPES = {
    bool: "bool", datetime.datetime: "timestamptz", float: "float8", int: "bigint", str: "text",
    UUID: "uuid",
}  # fmt: skip
_NEW_TYPES = {name: _SQL_TYPES[kind] for name, kind in NEW_TYPES.items()}


def _new_values(sql: Callable[[str], str]) -> str:
    """SQL of the values of NEW_COLUMNS; *sql* returns the SQL of a field of NewJob."""
    values = [
        f"COALESCE({sql(name)}, {NOW} + {sql(SECONDS_OF[name])} * {SECOND})"
        if name in SECONDS_OF
        else sql(name)
        for name in NEW_FIELDS
    ]
    ready_at = f"CASE WHEN {sql('status')} = {CLAIM.source} THEN {NOW} END"
    return ", ".join([*values, NOW, ready_at])


class _InsertOne:
    """The INSERT of one job with values for the fields *given*; other columns get their defaults.

    The server parses each column, and most jobs need few. Nothing of a job is in the texts.
    """

    def __init__(self, given: Sequence[str]) -> None:
        values, fields = {}, []
        for name in NEW_FIELDS:
            moments = {name: "%s", SECONDS_OF.get(name, ""): f"{NOW} + %s * {SECOND}"}
            for field, sql in moments.items():
                if field in given:
                    values["run_at" if name == "eta" else name] = _typed(sql, field)
                    fields.append(field)
        times = {"enqueued_at": NOW}
        if "status" not in given:
            times |= {"status": CLAIM.source, "ready_at": NOW}
        values |= times
        #: With the driver's marks, and as the server numbers the parameters.
        self.sql = f"INSERT INTO {JOBS} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
        self.numbered = numbered(self.sql)
        #: Takes a row; returns its parameters.
        self.parameters = operator.attrgetter(*fields)

    def texts(self, row: NewJob) -> list[bytes]:
        """Return the parameters of *row* as the server reads them."""
        if self is _PLAIN:
            return [row.id.hex.encode(), row.name.encode(), row.queue.encode(),
                    b"%d" % row.rank, row.args.encode(), row.kwargs.encode()]  # fmt: skip
        return [str(value).encode() for value in self.parameters(row)]


def _typed(sql: str, field: str) -> str:
    """Return *sql* with a parameter, which has a type where the server cannot tell it."""
    timed = field in SECONDS_OF or field in SECONDS_OF.values()
    return sql.replace("%s", f"%s::{_NEW_TYPES[field]}") if timed else sql


_insert_of = functools.lru_cache(128)(_InsertOne)
# Of a ready job with nothing but its name, its queue and its arguments.
_PLAIN_FIELDS = ("id", "name", "queue", "rank", "args", "kwargs")
_PLAIN = _insert_of(_PLAIN_FIELDS)
_DEFAULTS = tuple(NewJob._field_defaults.values())
_REQUIRED = len(NewJob._fields) - len(_DEFAULTS)


def _insert_one(row: NewJob) -> _InsertOne:
    if row[_REQUIRED:] == _DEFAULTS and row.status == Status.PENDING:
        return _PLAIN
    given = {
        name for name, value in row._asdict().items() if value != NewJob._field_defaults.get(name)
    }
    if row.status == Status.PENDING:
        given.remove("status")
    return _insert_of(tuple(sorted(given)))


# Values that all rows share are sent once, because each array costs parsing for every row.
_INSERT = f"""
INSERT INTO {JOBS} ({", ".join(NEW_COLUMNS)})
SELECT {_new_values(str)}
FROM (SELECT {{same}}) AS same, unnest({{arrays}}) AS new ({{names}})
"""

_NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"
_NUMBERED_NOTIFY = numbered(_NOTIFY)
_NOTIFY_EARLY = numbered(f"{_NOTIFY}, set_config('synchronous_commit', 'off', TRUE)")
_TOUCH = numbered(f"UPDATE {JOBS} SET id = id WHERE id = %s")
_numbered = functools.lru_cache(32)(numbered)
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

# What nearly all jobs need, apart: each further array costs every job the parsing of its element.
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
    **{name: _SQL_TYPES[kind] for name, kind in OUTCOME_TYPES.items()},
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


# A limit of the role or of the database is -1 where there is none.
_CAPACITY = """
SELECT LEAST(current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - COALESCE(current_setting('reserved_connections', TRUE), '0')::int,
    NULLIF((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1),
    NULLIF((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1)),
(SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
current_setting('port')
"""


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


class PostgreSQL(Dialect):
    wakeup = "LISTEN/NOTIFY"
    insert_chunk = 5_000
    wakes_with_insert = True
    now = NOW
    unix_time = f"date_part('epoch', {NOW})"
    #: The place at which a worker's claims begin. Only a worker's own connection has one.
    claim_cursor: ClaimCursor | None = None
    #: Whether the session is this process's alone, and a crash of the server closes the connection.
    _is_own_session = False
    #: Whether the next claim commits synchronously, because the last one had jobs that need it.
    _claims_durably = False

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        # It imports psycopg, which may not be installed beside another database.
        from . import direct, past_cursors
        from .prepared import WorkerStatements, texts

        self._direct, self._past_cursors, self._texts = direct, past_cursors, texts
        self._of_one = direct.Statements(_NUMBERED_NOTIFY, _NOTIFY_EARLY, _TOUCH)
        self._statements = WorkerStatements(connection)

    def clock_texts(self, moment: datetime.datetime) -> Mapping[str, str]:
        return {NOW: f"'{moment.isoformat()}'::timestamptz"}

    def after(self, seconds: float) -> str:
        return f"({NOW} + {float(seconds)!r} * {SECOND})"

    def insert(self, cursor: CursorWrapper, rows: Sequence[NewJob]) -> None:
        if len(rows) == 1:
            insert = _insert_one(rows[0])
            cursor.execute(insert.sql, insert.parameters(rows[0]))
            return
        self._insert_columns(
            cursor, dict(zip(NewJob._fields, zip(*rows, strict=True), strict=True))
        )

    def inserts_of(self, jobs: AlikeJobs) -> Sequence[Callable[[CursorWrapper], None]]:
        positions = range(len(jobs.ids))
        lengths = map(operator.add, map(len, jobs.args), map(len, jobs.kwargs))
        pieces = pieces_of(positions, lengths, self.insert_chunk)
        return [functools.partial(self._insert_alike, jobs=jobs.piece(at)) for at in pieces]

    def _insert_alike(self, cursor: CursorWrapper, jobs: AlikeJobs) -> None:
        columns: dict[str, Sequence[Any]] = {
            name: (value,) for name, value in jobs.first._asdict().items()
        }
        columns |= {"id": jobs.ids, "args": jobs.args, "kwargs": jobs.kwargs}
        self._insert_columns(cursor, columns)

    def _insert_columns(self, cursor: CursorWrapper, columns: Mapping[str, Sequence[Any]]) -> None:
        """Insert jobs. All have the value of a column whose values are one, or equal."""
        same, arrays = {}, {}
        for name, values in columns.items():
            if name == "id":
                arrays[name] = id_array(values)
            elif values.count(values[0]) == len(values):
                same[name] = values[0]
            elif NEW_TYPES[name] is str and None not in values:
                arrays[name] = text_array(values)
            else:
                arrays[name] = array(values)
        sql = _INSERT.format(
            same=", ".join(f"%s::{_NEW_TYPES[name]} AS {name}" for name in same),
            arrays=", ".join(f"%s::{_NEW_TYPES[name]}[]" for name in arrays),
            names=", ".join(arrays),
        )
        cursor.execute(sql, [*same.values(), *arrays.values()])

    def insert_and_wake(self, row: NewJob, topic: str) -> bool:
        insert, connection = _insert_one(row), self.connection
        if self._past_cursors.is_open_to(connection):
            values = insert.texts(row)
            message = insert.numbered, values
            self._direct.enqueue(connection, message, topic.encode(), values[0], self._of_one)
            return True
        parameters = insert.parameters(row)
        features: Any = connection.features
        if features.uses_server_side_binding or not connection.get_autocommit():
            return False
        with connection.cursor() as cursor:
            if in_own_transaction(connection.connection):
                return False
            try:
                cursor.execute(f"BEGIN; {insert.sql}; COMMIT; {_NOTIFY}", [*parameters, topic])
            except Error:
                raw: Any = connection.connection
                if raw is not None and not raw.closed:
                    raw.rollback()
                raise
        return True

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

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._goes_past_django():
            return self._statements.rows(_numbered(sql), values)
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def _change(self, cursor: CursorWrapper, sql: str, values: Sequence[Any]) -> int:
        if self._goes_past_django():
            return self._statements.change(_numbered(sql), values)
        cursor.execute(sql, values)
        return int(cursor.rowcount)

    def _goes_past_django(self) -> bool:
        return self.claim_cursor is not None and self._past_cursors.is_open_to(self.connection)

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

    def prune(self, cursor: CursorWrapper, most: int, place: Any) -> Pruned:
        sql, params = self._over(most, place)
        found = self.long_query(cursor, _PRUNE.format(over=sql), params)
        ((number, place, keys, ids),) = found
        return Pruned(number, place, list(zip(keys or (), ids or (), strict=True)))

    def long_query(self, cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> list[Any]:
        features: Any = self.connection.features
        if features.uses_server_side_binding:
            return super().long_query(cursor, sql, params)
        # Its estimated cost lets the server compile it at each look (JIT), which takes three times
        # as long as running it. Both statements are one transaction, after which it may again.
        cursor.execute(f"SET LOCAL jit = off; {sql}", params)
        cursor.nextset()
        return list(cursor.fetchall())

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
        return self._past_cursors.rows(self.connection, LOAD_STEPS, [job_id.hex])

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
        statement = _numbered(RECORD_STEP + lock)
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

    def notify(self, topics: Sequence[str]) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_notify(%s, topic) FROM unnest(%s::text[]) AS topic",
                [CHANNEL, list(topics)],
            )

    def listen(self) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        return True

    def fileno(self) -> int | None:
        raw: Any = self.connection.connection
        return None if raw is None else int(raw.fileno())

    def capacity(self) -> Capacity:
        with self.connection.cursor() as cursor:
            cursor.execute(_CAPACITY)
            allowed, used, port = cursor.fetchone()
        # A pooler listens on another port than its server. Several hosts may have several ports.
        configured = str(self.connection.settings_dict["PORT"] or "5432").split(",")
        return Capacity(allowed, used, direct=port in configured)

    def received(self) -> list[str]:
        raw: Any = self.connection.connection
        if raw is None:
            return []
        with self.connection.wrap_database_errors:
            return [note.payload for note in raw.notifies(timeout=0)]

    def prepare(self) -> None:
        self.claim_cursor = ClaimCursor()
        self._claims_durably = False
        raw: Any = self.connection.connection
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('default_transaction_isolation'), pg_backend_pid()"
            )
            isolation, pid = cursor.fetchone()
            if isolation != "read committed":
                # Of the role, the database or OPTIONS. A claim would fail where it meets another.
                cursor.execute("SET default_transaction_isolation = 'read committed'")
            self._is_own_session = pid == raw.info.backend_pid
            if self._is_own_session:
                # Else a pooler shares the session. When the network is cut amid a transaction, the
                # server keeps its locks for hours, and the worker that repeats it waits for them.
                cursor.execute("SET idle_in_transaction_session_timeout = '10s'")

    @classmethod
    def tune(cls, settings: dict[str, Any]) -> None:
        options = settings.setdefault("OPTIONS", {})
        options.pop("pool", None)
        # A cut network is an error in seconds, where the default waits for the kernel's hours.
        for name, value in (
            ("keepalives_idle", 3),
            ("keepalives_interval", 1),
            ("keepalives_count", 3),
            ("tcp_user_timeout", 5_000),
            ("connect_timeout", 5),
        ):
            options.setdefault(name, value)
        # A notification must not wait behind a snapshot, nor a claim see an old one.
        options.pop("isolation_level", None)
