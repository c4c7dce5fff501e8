from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from ..conf import get_settings
from ..status import ENDED, TIMED, Status
from ..transitions import CLAIM, RECORD
from ..values import OUTCOME_TYPES, NewJob, Outcome
from .base import Capacity, Dialect
from .chunks import chunks
from .descriptor import descriptor_of
from .mysql_claims import Claims
from .pruning import Pruned
from .tables import (
    COMMANDS,
    JOBS,
    LIMIT_LOCKS,
    NEW_COLUMNS,
    NEW_FIELDS,
    OF_JOBS,
    SECONDS_OF,
    UNIQUE_KEYS,
)

# Half of the usual lease. The worker's own connections are never idle for so long.
_IDLE_SECONDS = 30

# Whether the database of an alias is one of several that certify their writes together.
_GALERA: dict[str, bool] = {}

# As libpq's keepalives_* and tcp_user_timeout (milliseconds) on PostgreSQL.
_NETWORK = {"TCP_KEEPIDLE": 3, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5_000}

_NEW_VALUES = (
    f"COALESCE(%s, {{{SECONDS_OF[name]}}})" if name in SECONDS_OF else "%s" for name in NEW_FIELDS
)
_NEW_ROW = f"({', '.join(_NEW_VALUES)}, {{now}}, {{ready_at}})"

# The columns of the table of outcomes, and those of the job's row that they set.
_TIMES = ("started_at", "ended_at", "prune_at")
_WRITTEN = ("id", "claims", *OUTCOME_TYPES, *_TIMES, "run_at")
_MARKS = ["%s"] * len(("id", "claims", *OUTCOME_TYPES))
_SET = ", ".join(f"j.{name} = new.{name}" for name in (*OUTCOME_TYPES, *_TIMES))

# One statement for all tables takes half as long as one for each. The server joins the tables in
# this order, and finds each job by its key. With ids in a condition it would read a small table
# from end to end, and wait for the jobs that others have locked.
_ALIASES = [f"t{number}" for number in range(len(OF_JOBS))]
_JOINS = " ".join(
    f"LEFT JOIN {table} AS {alias} ON {alias}.{column} = j.id"
    for alias, (table, column) in zip(_ALIASES, OF_JOBS, strict=True)
)
_DELETE = (
    f"DELETE j, {', '.join(_ALIASES)} FROM ({{ids}}) AS gone "
    f"STRAIGHT_JOIN {JOBS} AS j ON j.id = gone.id {_JOINS}"
)


def _end_when_cut(connected: socket.socket) -> None:
    """Let a cut network be an error within 6 s, where the driver waits for its read timeout."""
    if connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _NETWORK.items():
        if hasattr(socket, name):  # not every system has all of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class MySQL(Claims):
    """MariaDB 10.6+ and MySQL 8+."""

    wakeup = "polling"
    # As text they would make a text of the column.
    first_moment = f"TIMESTAMP{Dialect.first_moment}"
    last_moment = f"TIMESTAMP{Dialect.last_moment}"
    insert_chunk = 1_000
    fair_ready = "queue = %s"
    fair_column = "fair_ready_key"
    unix_time = "UNIX_TIMESTAMP(NOW(6))"

    @property
    def now(self) -> str:
        if settings.USE_TZ:
            return "UTC_TIMESTAMP(6)"
        # Columns keep local time then. Only the offset comes from this host, never the clock.
        offset = timezone.localtime(timezone.now().astimezone(datetime.UTC)).utcoffset()
        seconds = int(offset.total_seconds()) if offset else 0
        return f"(UTC_TIMESTAMP(6) + INTERVAL {seconds} SECOND)"

    def clock_texts(self, moment: datetime.datetime) -> Mapping[str, str]:
        stored = f"TIMESTAMP'{moment.replace(tzinfo=None)}'"
        return {self.unix_time: repr(moment.timestamp()), "UTC_TIMESTAMP(6)": stored}

    def after(self, seconds: float) -> str:
        return f"({self.now} + INTERVAL {round(seconds * 1e6)} MICROSECOND)"

    def _after(self, seconds: float | None) -> str:
        return "NULL" if seconds is None else self.after(seconds)

    def insert(self, cursor: CursorWrapper, rows: Sequence[NewJob]) -> None:
        now = self.now
        values = [
            _NEW_ROW.format(
                countdown=self._after(row.countdown),
                expires_in=self._after(row.expires_in),
                now=now,
                ready_at=now if row.status == Status.PENDING else "NULL",
            )
            for row in rows
        ]
        cursor.execute(
            f"INSERT INTO {JOBS} ({self.quoted(NEW_COLUMNS)}) VALUES {', '.join(values)}",
            [value for row in rows for value in self.new_parameters(row)],
        )

    def _write_outcomes(
        self, cursor: CursorWrapper, worker_id: UUID, outcomes: Sequence[Outcome]
    ) -> int:
        rows, params = [], []
        for outcome in outcomes:
            rows.append(self._outcome_sql(outcome))
            params += [self.uuid(outcome.job.id), outcome.job.claims, *outcome.written()]
        first = ", ".join(f"{sql} AS {name}" for sql, name in zip(rows[0], _WRITTEN, strict=True))
        new = f"SELECT {first}" + "".join(f" UNION ALL SELECT {', '.join(row)}" for row in rows[1:])
        cursor.execute(
            f"UPDATE ({new}) AS new STRAIGHT_JOIN {JOBS} AS j ON j.id = new.id "
            f"SET {_SET}, j.run_at = COALESCE(new.run_at, j.run_at) "
            f"WHERE j.status = {RECORD.source} AND j.worker_id = %s AND j.claims = new.claims",
            [*params, self.uuid(worker_id)],
        )
        return int(cursor.rowcount)

    def _outcome_sql(self, outcome: Outcome) -> list[str]:
        status = outcome.status
        began_ago, ended_ago = outcome.ages()
        run_at = "NULL"
        if status in TIMED:
            run_at = self.after(outcome.delay or 0)
            if outcome.run_at is not None:
                run_at = f"'{self.datetime(outcome.run_at)}'"
        return [
            *_MARKS,
            "NULL" if status == Status.PENDING else self.after(-began_ago),
            self.after(-ended_ago) if status in ENDED else "NULL",
            self._after(outcome.keep_seconds),
            run_at,
        ]

    def ready_queues(self, cursor: CursorWrapper) -> list[str]:
        # Written as a range of one status, for "status = 'PENDING'" reads every pending row where
        # this jumps from queue to queue (MariaDB 10.11: 0.2 ms and 13 ms with 100,000 of them).
        cursor.execute(
            f"SELECT DISTINCT status, queue FROM {JOBS} "
            "FORCE INDEX FOR GROUP BY (django_jobs_claim) "
            f"WHERE status >= {CLAIM.source} AND status <= {CLAIM.source} "
            f"UNION ALL (SELECT status, '@' FROM {JOBS} WHERE status = 'SCHEDULED' "
            f"AND run_at <= {self.now} LIMIT 1) "
            f"UNION ALL (SELECT status, '@' FROM {JOBS} WHERE status = 'RETRY' "
            f"AND run_at <= {self.now} LIMIT 1) "
            f"UNION ALL (SELECT {CLAIM.source}, '!' FROM {COMMANDS} WHERE done_at IS NULL LIMIT 1)"
        )
        return [queue for _status, queue in cursor.fetchall()]

    def prune(self, cursor: CursorWrapper, most: int, place: Any) -> Pruned:
        def delete(found: Sequence[Any]) -> None:
            for chunk in chunks(found):
                ids = "SELECT %s AS id" + " UNION ALL SELECT %s" * (len(chunk) - 1)
                cursor.execute(_DELETE.format(ids=ids), chunk)

        return self._prune_found(cursor, self._over(most, place), delete)

    def hold_key(self, cursor: CursorWrapper, key: str, job_id: UUID, until: str) -> None:
        # INSERT IGNORE takes a shared lock on the row that is there, and two callers that both
        # hold one and then want the row for themselves are a deadlock.
        cursor.execute(
            f"INSERT INTO {UNIQUE_KEYS} (`key`, job_id, until) VALUES (%s, %s, {until}) "
            "ON DUPLICATE KEY UPDATE job_id = job_id",
            [key, self.uuid(job_id)],
        )

    def share_limit_locks(self, cursor: CursorWrapper, keys: Sequence[str]) -> None:
        # In a Galera cluster a lock holds on its own node only. At COMMIT the nodes compare the
        # rows that were written: of two transactions that wrote one, the second is rolled back as a
        # deadlock. An UPDATE that changes nothing writes nothing.
        if keys and self._is_galera(cursor):
            for key in keys:
                cursor.execute(f"DELETE FROM {LIMIT_LOCKS} WHERE `key` = %s", [key])
                cursor.execute(f"INSERT INTO {LIMIT_LOCKS} (`key`) VALUES (%s)", [key])

    def _is_galera(self, cursor: CursorWrapper) -> bool:
        alias = self.connection.alias
        if alias not in _GALERA:
            cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
            _GALERA[alias] = (cursor.fetchone() or ("", "OFF"))[1] == "ON"
        return _GALERA[alias]

    def capacity(self) -> Capacity:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT @@max_connections")
            (allowed,) = cursor.fetchone()
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
            _name, used = cursor.fetchone()
        return Capacity(int(allowed), int(used) - 1, direct=True)

    def recursive(self, query: str, columns: str) -> str:
        # Both stop after 1,000 steps otherwise, MariaDB without an error.
        connection: Any = self.connection
        if connection.mysql_is_mariadb:
            return (
                "SET STATEMENT max_recursive_iterations = 4294967295 FOR "
                f"WITH RECURSIVE {query} SELECT {columns}"
            )
        return (
            f"WITH RECURSIVE {query} "
            f"SELECT /*+ SET_VAR(cte_max_recursion_depth = 4294967295) */ {columns}"
        )

    def exact(self, column: str) -> str:
        # The column may have a collation that takes "a" for "A".
        return f"CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin"

    def uncut(self, query: str) -> str:
        # Otherwise MySQL cuts what it joins after 1,024 bytes, and MariaDB after a million.
        connection: Any = self.connection
        if connection.mysql_is_mariadb:
            return f"SET STATEMENT group_concat_max_len = 4294967295 FOR {query}"
        hint = "/*+ SET_VAR(group_concat_max_len = 4294967295) */"
        return f"SELECT {hint} * FROM ({query}) joined"

    def prepare(self) -> None:
        # When the network is cut amid a transaction, the server keeps its locks until then, and the
        # worker that repeats it waits for them.
        seconds = max(_IDLE_SECONDS, 3 * get_settings().heartbeat_seconds)
        with self.connection.cursor() as cursor:
            cursor.execute("SET SESSION wait_timeout = %s", [int(seconds)])
        raw: Any = self.connection.connection
        with socket.socket(fileno=os.dup(descriptor_of(raw))) as copy:
            _end_when_cut(copy)

    @classmethod
    def tune(cls, settings: dict[str, Any]) -> None:
        options = settings.setdefault("OPTIONS", {})
        # Under REPEATABLE READ a claim would lock the gaps of the index and every insert with it.
        options["isolation_level"] = "read committed"
        options.setdefault("connect_timeout", 5)
        options.setdefault("read_timeout", 30)
        options.setdefault("write_timeout", 30)
