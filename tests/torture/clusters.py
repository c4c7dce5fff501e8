"""Servers that replicate, of one run: what :mod:`tests.torture.servers` has, more than once."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.db import Error, connection

from tests.ports import free_port
from tests.postgresql import USER, as_account, run
from tests.torture import jobs, ledger
from tests.torture.checker import prepare
from tests.torture.servers import SECONDS, MariaDB, PostgreSQL, Server
from tests.torture.site import LeftOut, Site

#: Of Django's ``DATABASES``, for each of several servers of which one accepts writes.
MULTIPLE = {"OPTIONS": {"target_session_attrs": "read-write", "connect_timeout": 5}}
DATABASE = "torture"
GALERA = "/usr/lib/galera/libgalera_smm.so"


def wait(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {seconds:.0f} s: {what}")
        time.sleep(0.02)


def needs(site: Site, kind: str, why: str, **programs: str) -> None:
    """Leave the scenario out on another kind of database, or without one of the *programs*.

    The value of a program is the package of Debian that has it.
    """
    if site.kind != kind:
        raise LeftOut(why)
    missing = {name: package for name, package in programs.items() if shutil.which(name) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise LeftOut(f"{', '.join(missing)} not installed (Debian: apt install {packages})")


def begin(site: Site, **database: Any) -> None:
    """Use the *database* of a cluster, and make its tables."""
    from django.core.management import call_command

    site.use(NAME=DATABASE, **database)
    call_command("migrate", verbosity=0)
    prepare()


def next_run(site: Site, moment: float) -> float:
    """Return the seconds from *moment* until a job has run that is enqueued after it.

    Its priority puts it before the backlog, whose length says nothing of the cluster.
    """
    place = site.ledger.stat().st_size

    def enqueue() -> str | None:
        try:
            result = jobs.quick.apply_async((1,), priority=9)
        except Error:  # nobody can know whether it is there
            ledger.write("unsure")
            connection.close()
            return None
        ledger.write("ack", id=str(result.id))
        return str(result.id)

    job_id = site.until(enqueue, "a new job is acknowledged")

    def ended() -> float | None:
        lines = ledger.read(site.ledger, place)
        ends = (line["t"] for line in lines if line["kind"] == "end" and line["id"] == job_id)
        return min(ends, default=None)

    return float(site.until(ended, "a new job runs")) - moment


def hosts(nodes: Sequence[Server]) -> dict[str, Any]:
    """Return what names all *nodes*, in Django's ``DATABASES``."""
    ports = ",".join(str(node.port) for node in nodes)
    return {"HOST": ",".join("127.0.0.1" for _ in nodes), "PORT": ports, **MULTIPLE}


class Plain(MariaDB):
    """A MariaDB beside the one of the run."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder / name)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "data").mkdir(parents=True)

    @property
    def socket(self) -> str:
        return str(self.folder / "socket")

    @property
    def flags(self) -> list[str]:
        return ["--bind-address=0.0.0.0"]

    def admit_others(self) -> None:
        """Let its user connect from any host; only its own network namespace has one."""
        cursor = self._session().cursor()
        cursor.execute("CREATE USER root@'%'")
        cursor.execute("GRANT ALL ON *.* TO root@'%'")


class Node(PostgreSQL):
    """A PostgreSQL beside the one of the run, with its programs."""

    def __init__(self, beside: PostgreSQL, name: str) -> None:
        super().__init__(beside.folder / name)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        (self.folder / "programs").write_text(str(beside.programs))
        if account := self.account():
            shutil.chown(self.folder, account)
        Server.install(self)

    listens = "127.0.0.1"

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"listen_addresses": self.listens}

    def install(self) -> None:
        """Make the data of a new primary."""
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-U", USER]
        self._run("initdb", *options, "-D", self.folder / "data")

    @property
    def socket(self) -> str:
        return str(self.folder)

    def admit_others(self) -> None:
        """Let its user connect from any host; only its own network namespace has one."""
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all trust\n")
        self.listens = "*"
        self.stop()
        self.start()

    def follow(self, primary: Node) -> None:
        """Become a synchronous standby of *primary*; return when it is one."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        source = f"host=127.0.0.1 port={primary.port} user={USER} application_name=standby"
        self._run("pg_basebackup", "-D", self.folder / "data", "-R", "-c", "fast", "-d", source)
        self.start()
        primary.waits_for("standby")
        state = "SELECT sync_state FROM pg_stat_replication"
        wait(lambda: primary.ask(state) == "sync", "the standby is synchronous")

    def waits_for(self, standby: str) -> None:
        """Let each commit wait for that *standby*; for none if it is empty."""
        self.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
        self.ask("SELECT pg_reload_conf()")
        shown = "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'"
        wait(lambda: self.ask(shown) == standby, "the setting is read")

    def promote(self) -> None:
        self.waits_for("")
        self.ask("SELECT pg_promote(wait => TRUE)")

    def ask(self, sql: str) -> Any:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as session:
            cursor = session.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]

    def kill(self) -> None:
        """Kill all its processes, as the end of its host does."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.end(signal.SIGKILL)

    def processes(self) -> list[int]:
        pid = self.pid()
        if pid is None:
            return []
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def freeze(self, seconds: float) -> None:
        """Let it stand still for so long."""
        pids = self.processes()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def _run(self, program: str, *arguments: Any) -> None:
        run([self.programs / program, *map(str, arguments)], self.account())


class GaleraNode(MariaDB):
    """One of several MariaDB servers that all accept writes and certify them together."""

    # It first gets what the others have committed meanwhile.
    patience = 3 * SECONDS

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder / name)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "data").mkdir(parents=True)
        # Only the first member is installed: the others copy its files.
        (self.folder / "temporary").mkdir()
        self.name = name
        self.peers: list[GaleraNode] = []
        self.replication, self.transfer, self.increments = free_port(), free_port(), free_port()
        Server.install(self)
        folder.chmod(0o711)
        self._give()

    def account(self) -> str | None:
        # The daemon by which a node copies another one's files writes as nobody.
        return "nobody" if os.geteuid() == 0 else None

    def install(self) -> None:
        super().install()
        self._give()

    def _give(self) -> None:
        if account := self.account():
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, account)

    @property
    def flags(self) -> list[str]:
        # A new cluster begins where no other member runs.
        members = [peer for peer in self.peers if peer.pid() is not None]
        options = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self.replication}",
            "ist.recv_addr": f"127.0.0.1:{self.increments}",
        }
        return [
            "--wsrep-on=ON", f"--wsrep-provider={GALERA}", "--wsrep-cluster-name=torture",
            "--wsrep-cluster-address=gcomm://"
            + ",".join(f"127.0.0.1:{peer.replication}" for peer in members),
            f"--wsrep-node-name={self.name}",
            f"--wsrep-node-address=127.0.0.1:{self.replication}",
            f"--wsrep-sst-receive-address=127.0.0.1:{self.transfer}", "--wsrep-sst-method=rsync",
            "--wsrep-provider-options=" + ";".join(f"{k}={v}" for k, v in options.items()),
            "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-slave-threads=2",
        ]  # fmt: skip

    def command(self) -> list[str]:
        return [*super().command(), *self._position]

    def start(self) -> None:
        """Start it where it ended, so that others need not stand still to give it all they have."""
        self._position: list[str] = []
        if (self.folder / "data" / "grastate.dat").exists():
            done = subprocess.run(
                [*self.command(), "--wsrep-recover"], **as_account(self.account()), check=False,
                capture_output=True, text=True,
            )  # fmt: skip
            found = re.findall(r"Recovered position: (\S+)", done.stderr)
            self._position = [f"--wsrep-start-position={found[-1]}"] if found else []
        super().start()

    def is_ready(self, cursor: Any) -> bool:
        """Tell whether it has all that the others have."""
        cursor.execute("SHOW STATUS LIKE 'wsrep_local_state_comment'")
        return bool(cursor.fetchone()[1] == "Synced")
