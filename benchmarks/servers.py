"""The databases of a run: created, emptied between measurements, dropped."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.ports import free_port
from tests.postgresql import USER, CannotStart, embedded_postgresql

from . import processes

#: Enough for a hundred workers, and for a connection of each of 256 threads.
MAX_CONNECTIONS = 500
LOCALHOST = "127.0.0.1"


class LeftOut(Exception):
    """A server that is not available; the message says how to include it."""


class Server:
    """A new database on one server."""

    kind: str
    url: str
    #: A connection to the database, for cases that need one (PostgreSQL).
    inside: Any = None

    def create(self) -> None:
        """Create the database and its tables."""

    def reset(self) -> None:
        """Empty the tables of django_jobs."""

    def facts(self) -> str:
        """Return version and durability as one line."""
        raise NotImplementedError

    def statements(self) -> int | None:
        """Return the number of statements or transactions that the server has executed."""
        return None

    def process_ids(self) -> list[int]:
        """Return the server's processes of this database's connections, if they can be told."""
        return []

    def connections(self) -> int | None:
        """Return how many connections to this database are open, without the benchmark's own."""
        return None

    def unfinished(self) -> int:
        """Return the number of jobs that are neither SUCCESS nor scheduled for later."""
        return int(
            self.one(
                "SELECT count(*) FROM django_jobs_job WHERE status NOT IN ('SUCCESS', 'SCHEDULED')"
            )
        )

    def workers(self) -> int:
        """Return how many workers have registered."""
        return int(self.one("SELECT count(*) FROM django_jobs_worker"))

    def one(self, sql: str) -> Any:
        """Return the first column of the first row."""
        raise NotImplementedError

    def migrate(self) -> None:
        environment = {
            **os.environ,
            "DATABASE_URL": self.url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        }
        code = (
            "import django; django.setup(); from django.core.management import call_command; "
            "call_command('migrate', run_syncdb=True, verbosity=0); "
            "from benchmarks.models import Item; "
            "Item.objects.bulk_create([Item(pk=pk) for pk in range(1, 101)])"
        )
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)  # noqa: S603


class PostgreSQL(Server):
    kind = "postgresql"

    def __init__(self, url: str, name: str) -> None:
        import psycopg

        # Connect to the database that every server has; the URL's database need not exist.
        maintenance = urlunsplit(urlsplit(url)._replace(path="/postgres"))
        self.connection: Any = psycopg.connect(maintenance, autocommit=True)
        self.name = name
        self.url = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))

    def create(self) -> None:
        import psycopg

        self.connection.execute(f"CREATE DATABASE {self.name}")
        self.migrate()
        self.inside = psycopg.connect(self.url, autocommit=True)
        self.tables = self.one(
            "SELECT string_agg(relname, ', ') FROM pg_stat_user_tables "
            "WHERE relname LIKE 'django_jobs_%'"
        )

    def one(self, sql: str) -> Any:
        return self.inside.execute(sql).fetchone()[0]

    def reset(self) -> None:
        self.inside.execute(f"TRUNCATE {self.tables}")

    def facts(self) -> str:
        shown = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        return "PostgreSQL " + ", ".join(
            f"{name} {self.one(f'SHOW {name}')}".removeprefix("server_version ") for name in shown
        )

    def statements(self) -> int:
        # Queried over another database, so that the query itself is not counted.
        row = self.connection.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s",
            [self.name],
        ).fetchone()
        return int(row[0])

    def process_ids(self) -> list[int]:
        rows = self.connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s", [self.name]
        )
        # The server may run on another machine, where the same number is another process.
        return [pid for (pid,) in rows if processes.name(pid) == "postgres"]

    def connections(self) -> int:
        row = self.connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
            [self.name, self.inside.info.backend_pid],
        ).fetchone()
        return int(row[0])

    def close(self) -> None:
        self.connection.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        self.connection.close()


class MySQL(Server):
    kind = "mysql"

    def __init__(self, url: str, name: str) -> None:
        from .bare.mysql import Limit

        self.name = name
        self.cursor: Any = Limit(urlunsplit(urlsplit(url)._replace(path="/"))).cursor
        self.url = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))

    def create(self) -> None:
        self.cursor.execute(f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4")
        self.migrate()
        self.cursor.execute(f"USE {self.name}")
        self.cursor.execute("SHOW TABLES LIKE 'django\\_jobs\\_%'")
        self.tables = [table for (table,) in self.cursor.fetchall()]

    def one(self, sql: str) -> Any:
        self.cursor.execute(sql)
        return self.cursor.fetchone()[0]

    def reset(self) -> None:
        for table in self.tables:
            self.cursor.execute(f"TRUNCATE {table}")

    def facts(self) -> str:
        flush = self.one("SELECT @@innodb_flush_log_at_trx_commit")
        buffers = self.one("SELECT @@innodb_buffer_pool_size") >> 20
        return (
            f"{self.one('SELECT version()')}, innodb_flush_log_at_trx_commit {flush}, "
            f"innodb_buffer_pool_size {buffers} MB"
        )

    def statements(self) -> int:
        self.cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
        return int(self.cursor.fetchone()[1])

    def close(self) -> None:
        self.cursor.execute(f"DROP DATABASE IF EXISTS {self.name}")
        self.cursor.connection.close()


class SQLite(Server):
    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.path, self.template = folder / "jobs.sqlite3", folder / "template.sqlite3"

    def create(self) -> None:
        self.url = f"sqlite:///{self.template}"
        self.migrate()
        self.url = f"sqlite:///{self.path}"
        self.reset()

    def reset(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copy(self.template, self.path)

    def one(self, sql: str) -> Any:
        import sqlite3

        with contextlib.closing(sqlite3.connect(self.path, timeout=20)) as connection:
            return connection.execute(sql).fetchone()[0]

    def facts(self) -> str:
        return f"SQLite {self.one('SELECT sqlite_version()')}, WAL, synchronous NORMAL"

    def close(self) -> None:
        """Nothing to do: the folder is deleted with the files."""


@contextlib.contextmanager
def server(kind: str, folder: Path) -> Iterator[Server]:
    """Yield a new database of this *kind*, dropped at the end; or raise :class:`LeftOut`."""
    name = f"bench_{os.getpid()}"
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            made: Any = SQLite(folder)
        elif kind == "postgresql":
            made = PostgreSQL(stack.enter_context(_postgresql_url()), name)
        else:
            if not os.environ.get("MYSQL_URL"):
                raise LeftOut("MariaDB, MySQL: left out, set MYSQL_URL to measure one")
            made = MySQL(os.environ["MYSQL_URL"], name)
        stack.callback(made.close)
        made.create()
        yield made


@contextlib.contextmanager
def _postgresql_url() -> Iterator[str]:
    if os.environ.get("POSTGRESQL_URL"):
        yield os.environ["POSTGRESQL_URL"]
        return
    # Over TCP, as Redis and a server of one's own: a Unix socket would be quicker.
    port = str(free_port())
    settings = {"max_connections": str(MAX_CONNECTIONS), "listen_addresses": LOCALHOST}
    try:
        with embedded_postgresql(port=port, **settings):
            yield f"postgresql://{USER}@{LOCALHOST}:{port}/postgres"
    except CannotStart as error:
        raise LeftOut(f"PostgreSQL: left out, {error}") from None
