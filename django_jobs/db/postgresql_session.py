"""A session with PostgreSQL: its clock, its queries, its notifications."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from .base import Capacity, Dialect
from .claim_cursor import ClaimCursor
from .postgresql_text import CHANNEL, NOTIFY, NOW, SECOND, kept_numbered, numbered
from .tables import JOBS

_NUMBERED_NOTIFY = numbered(NOTIFY)
_NOTIFY_EARLY = numbered(f"{NOTIFY}, set_config('synchronous_commit', 'off', TRUE)")
_TOUCH = numbered(f"UPDATE {JOBS} SET id = id WHERE id = %s")

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


class PostgreSQLSession(Dialect):
    """A session: the clock, the queries past Django's cursors, and what it hears."""

    wakeup = "LISTEN/NOTIFY"
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

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._goes_past_django():
            return self._statements.rows(kept_numbered(sql), values)
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def _change(self, cursor: CursorWrapper, sql: str, values: Sequence[Any]) -> int:
        if self._goes_past_django():
            return self._statements.change(kept_numbered(sql), values)
        cursor.execute(sql, values)
        return int(cursor.rowcount)

    def _goes_past_django(self) -> bool:
        return self.claim_cursor is not None and self._past_cursors.is_open_to(self.connection)

    def long_query(self, cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> list[Any]:
        features: Any = self.connection.features
        if features.uses_server_side_binding:
            return super().long_query(cursor, sql, params)
        # Its estimated cost lets the server compile it at each look (JIT), which takes three times
        # as long as running it. Both statements are one transaction, after which it may again.
        cursor.execute(f"SET LOCAL jit = off; {sql}", params)
        cursor.nextset()
        return list(cursor.fetchall())

    def joined(self, expression: str) -> str:
        return f"STRING_AGG(({expression})::text, ',')"

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
