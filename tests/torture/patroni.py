"""Patroni and etcd decide who is the primary: its host dies, and an operator switches it over."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.ports import free_port
from tests.postgresql import USER, as_account
from tests.torture import ledger
from tests.torture.checker import Line, limit
from tests.torture.clusters import DATABASE, Node, begin, hosts, needs, next_run, wait
from tests.torture.kills import LEASE, MIX, live_copies, verdict
from tests.torture.servers import PostgreSQL
from tests.torture.site import Fault, Site
from tests.torture.watcher import VARIABLE

MIGRATES = True
_PROGRAMS = {"patroni": "patroni", "patronictl": "patroni", "etcd": "etcd-server"}
#: Seconds until another member may lead.
TTL = 8


class Member(Node):
    """A PostgreSQL that Patroni starts, stops and promotes."""

    def __init__(self, beside: PostgreSQL, name: str, etcd: int) -> None:
        super().__init__(beside, f"patroni-{name}")
        self.name = name
        self.configuration = self.folder / "patroni.json"
        self._patroni: subprocess.Popen[bytes] | None = None
        self.interface = f"127.0.0.1:{free_port()}"
        shared = {
            "ttl": TTL, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": True,
            "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 100}},
        }  # fmt: skip
        user = {"username": USER}
        self.configuration.write_text(json.dumps({
            "scope": "torture", "name": name, "etcd3": {"host": f"127.0.0.1:{etcd}"},
            "restapi": dict.fromkeys(("listen", "connect_address"), self.interface),
            "bootstrap": {"dcs": shared, "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}]},
            "postgresql": {
                **dict.fromkeys(("listen", "connect_address"), f"127.0.0.1:{self.port}"),
                "data_dir": str(self.folder / "data"), "bin_dir": str(self.programs),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": dict.fromkeys(("superuser", "replication", "rewind"), user),
                "pg_hba": ["host all all 127.0.0.1/32 trust",
                           "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": str(self.folder), "fsync": "off"},
            },
        }))  # fmt: skip

    def begin(self) -> None:
        self._patroni = run(["patroni", self.configuration], self.folder, self.account())

    def leads(self) -> bool:
        try:
            return self.ask("SELECT NOT pg_is_in_recovery()") is True
        except Exception:
            return False

    def is_synchronous(self) -> bool:
        """Tell whether etcd has it as the member that may lead next."""
        try:
            return urlopen(f"http://{self.interface}/synchronous", timeout=5).status == 200
        except OSError:
            return False

    def kill(self) -> None:
        if self._patroni is not None:
            self._patroni.kill()
            self._patroni.wait()
        super().kill()


def run(command: list[Any], folder: Path, account: str | None) -> subprocess.Popen[bytes]:
    if account is not None:
        shutil.chown(folder, account)
    # By one of them the watcher of the run finds the processes.
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", VARIABLE)}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [str(word) for word in command], **as_account(account), process_group=0, stdout=log,
            stderr=log, env={**kept, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip


def play(site: Site) -> list[Line]:
    needs(site, "postgresql", "Patroni leads PostgreSQL", **_PROGRAMS)
    assert isinstance(site.server, PostgreSQL)
    folder = site.server.folder / "etcd"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    clients, peers = free_port(), free_port()
    urls = {"client": f"http://127.0.0.1:{clients}", "peer": f"http://127.0.0.1:{peers}"}
    etcd = run(
        ["etcd", f"--data-dir={folder / 'data'}", "--unsafe-no-fsync",
         f"--listen-client-urls={urls['client']}", f"--advertise-client-urls={urls['client']}",
         f"--listen-peer-urls={urls['peer']}", f"--initial-advertise-peer-urls={urls['peer']}",
         f"--initial-cluster=default={urls['peer']}"],
        folder, site.server.account(),
    )  # fmt: skip
    members = [Member(site.server, name, clients) for name in "ab"]
    try:
        members[0].begin()
        wait(members[0].leads, "the first member leads")
        members[1].begin()
        wait(members[1].is_synchronous, "the second one is synchronous")
        members[0].make(DATABASE)
        return lead_in_turn(site, members)
    except TimeoutError as error:
        logs = [log.read_text()[-900:] for log in site.server.folder.glob("patroni-*/log")]
        raise TimeoutError("\n".join([str(error), *logs])) from None
    finally:
        for member in members:
            member.kill()
        with contextlib.suppress(ProcessLookupError):
            etcd.send_signal(signal.SIGKILL)
        etcd.wait()


def lead_in_turn(site: Site, members: list[Member]) -> list[Line]:
    begin(site, **hosts(members))
    site.settings(LEASE_SECONDS=LEASE, HEARTBEAT_SECONDS=1)
    site.schedule(lambda: faults(site))
    for _ in range(2):
        site.runworker("-c", "2", "-l", "WARNING")
    site.wait_for_workers(4)
    site.keep_enqueuing(site.pick(40, 60), MIX)
    lines: list[Line] = []
    doubles: set[Any] = set()
    site.follow(
        {
            "switchover": lambda _which: lines.extend(change(site, members, switch_over)),
            "failover": lambda _which: lines.extend(change(site, members, lose)),
        },
        meanwhile=lambda: doubles.update(live_copies()),
    )
    site.stop_enqueuing()
    site.wait_for_the_end()
    return [*verdict(site, site.stop_workers(), doubles), *lines]


def faults(site: Site) -> list[Fault]:
    rounds = range(site.pick(1, 8))
    return [
        Fault(3.0 + 10 * number + after, kind)
        for number in rounds
        for after, kind in ((0, "switchover"), (5, "failover"))
    ]


def change(site: Site, members: list[Member], act: Any) -> list[Line]:
    """Let the other member lead; return how long that took, and then the next new job."""
    old, new = members
    began = time.monotonic()
    act(old, new)
    site.until(new.leads, "the other member leads")
    promoted = time.monotonic()
    took = next_run(site, promoted)
    ledger.write("crash", since=began)
    if act is lose:
        old.begin()
    site.until(old.is_synchronous, "the old leader is a synchronous standby")
    members.reverse()
    name = "failover" if act is lose else "switchover"
    return [
        Line(f"{name}: another one leads after", f"{promoted - began:.2f} s"),
        limit(f"{name}: work goes on after that", took, 15, " s"),
    ]


def lose(old: Member, _new: Member) -> None:
    old.kill()


def switch_over(old: Member, new: Member) -> None:
    command = ["patronictl", "-c", str(old.configuration), "switchover", "torture", "--force"]
    command += ["--leader", old.name, "--candidate", new.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TimeoutError(f"patronictl: {done.stdout[-500:]}{done.stderr[-500:]}")
