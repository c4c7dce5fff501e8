"""Database servers of one run, in a folder of their own, so that they may be crashed.

Any process may act on a server: its files hold all that is known of it.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.postgresql import USER, as_account, prepare, run

SECONDS = 60.0


class CannotStart(Exception):
    """The server did not start; the message says why."""


class Server:
    """One server, by the folder that has its files."""

    #: Longest time of a start, in seconds.
    patience = SECONDS

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def port(self) -> int:
        return int((self.folder / "port").read_text())

    def install(self) -> None:
        """Make the data of a new server, and choose its port."""
        (self.folder / "port").write_text(str(free_port()))

    def command(self) -> list[str]:
        raise NotImplementedError

    def pid(self) -> int | None:
        """Return the process id of the server if it runs."""
        raise NotImplementedError

    def death(self) -> str:
        """Return the end of the log of a server that runs no more, though it should."""
        return "" if self.pid() is not None else (self.folder / "log").read_text()[-6000:]

    def account(self) -> str | None:
        return None

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                self.command(), **as_account(self.account()), process_group=0, stdout=log,
                stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + self.patience
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def answers(self) -> bool:
        raise NotImplementedError

    def end(self, number: int) -> None:
        """Send a signal and wait until the server has ended."""
        pid = self.pid()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + SECONDS
        while is_alive(pid):
            if time.monotonic() > deadline:
                # Its folder is removed next: it must not live on without it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.01)

    def crash(self) -> None:
        """End it as a crash does: it writes nothing more, and recovers at its next start."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it as an administrator does who waits for nobody."""
        raise NotImplementedError

    def make(self, database: str) -> str:
        """Make an empty database and return its URL."""
        raise NotImplementedError


class PostgreSQL(Server):
    def install(self) -> None:
        super().install()
        programs, account = debian(self.folder) or prepare(self.folder)
        (self.folder / "programs").write_text(str(programs))
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-U", USER]
        run([programs / "initdb", *options, "-D", self.folder / "data"], account)

    def account(self) -> str | None:
        return "nobody" if os.geteuid() == 0 else None

    @property
    def programs(self) -> Path:
        return Path((self.folder / "programs").read_text())

    def settings(self) -> dict[str, Any]:
        # fsync: what the system has outlives the server's crash, and the disk need not have it.
        return {
            "port": self.port, "listen_addresses": "127.0.0.1", "fsync": "off",
            "unix_socket_directories": self.folder, "max_connections": 100,
        }  # fmt: skip

    def command(self) -> list[str]:
        flags = [f"--{key}={value}" for key, value in self.settings().items()]
        return [f"{self.programs}/postgres", "-D", str(self.folder / "data"), *flags]

    def pid(self) -> int | None:
        return first_line(self.folder / "data" / "postmaster.pid")

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def crash(self) -> None:
        self.end(signal.SIGQUIT)

    def stop(self) -> None:
        self.end(signal.SIGINT)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:@127.0.0.1:{self.port}/{database}"

    def make(self, database: str) -> str:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as session:
            session.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            session.execute(f"CREATE DATABASE {database}")
        return self.url(database)


class MariaDB(Server):
    def install(self) -> None:
        super().install()
        if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
            raise CannotStart("mariadbd is not installed (Debian: apt install mariadb-server)")
        if importlib.util.find_spec("MySQLdb") is None:
            raise CannotStart("mysqlclient is not installed (make torture MYSQL_URL=own does it)")
        command = [
            "mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal",
            "--skip-test-db", f"--user={getpass.getuser()}", f"--datadir={self.folder / 'data'}",
            self._temporary(),
        ]  # fmt: skip
        (self.folder / "temporary").mkdir(exist_ok=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotStart(done.stdout[-2000:] + done.stderr[-2000:])

    @property
    def flags(self) -> list[str]:
        return []

    def command(self) -> list[str]:
        # The log is written at each commit, and flushed to the disk by nobody: see PostgreSQL.
        return [
            "mariadbd", "--no-defaults", f"--user={getpass.getuser()}", "--bind-address=127.0.0.1",
            f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 'socket'}",
            f"--port={self.port}", f"--pid-file={self.folder / 'pid'}", "--max-connections=100",
            "--innodb-flush-log-at-trx-commit=2", "--skip-innodb-doublewrite", self._temporary(),
            *self.flags,
        ]  # fmt: skip

    def _temporary(self) -> str:
        # At its start a server deletes the temporary tables of all servers with the same folder.
        return f"--tmpdir={self.folder / 'temporary'}"

    def pid(self) -> int | None:
        return first_line(self.folder / "pid")

    def answers(self) -> bool:
        import MySQLdb

        try:
            return self.is_ready(self._session().cursor())
        except MySQLdb.OperationalError:
            return False

    def is_ready(self, cursor: Any) -> bool:
        return True

    def crash(self) -> None:
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        self.end(signal.SIGTERM)

    def make(self, database: str) -> str:
        session = self._session()
        cursor = session.cursor()
        cursor.execute(f"DROP DATABASE IF EXISTS {database}")
        cursor.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
        session.close()
        return f"mysql://root@127.0.0.1:{self.port}/{database}"

    def _session(self) -> Any:
        import MySQLdb

        return MySQLdb.connect(host="127.0.0.1", port=self.port, user="root")


class SQLite(Server):
    """A folder of files: there is nothing to start or to crash."""

    def install(self) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def answers(self) -> bool:
        return True

    def death(self) -> str:
        return ""

    def make(self, database: str) -> str:
        for path in self.folder.glob(f"{database}.sqlite3*"):
            path.unlink()
        return f"sqlite:///{self.folder / database}.sqlite3"


SERVERS: dict[str, type[Server]] = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MariaDB}


def debian(folder: Path) -> tuple[Path, str | None] | None:
    """Return the programs of Debian's newest PostgreSQL with its extensions, and their account."""
    found = [
        path.parent
        for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")
        if Path("/usr/share/postgresql", path.parts[-3], "extension/pgstattuple.control").exists()
    ]
    if not found:
        return None
    account = "nobody" if os.geteuid() == 0 else None
    if account is not None:
        shutil.chown(folder, account)
    return max(found, key=lambda path: int(path.parts[-2])), account


def first_line(path: Path) -> int | None:
    try:
        pid = int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if is_alive(pid) else None


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
