"""The network between a worker's host and the database is cut: one way or both, and silently.

Both are network namespaces that this run makes, with one link between them. Another worker and this
process use the server's socket in the file system, which no cut concerns. Whoever is cut sends to
an address of hardware that nobody has, so no packet tells that a connection is over.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from tests.torture import jobs, ledger
from tests.torture.checker import Evidence, Line, judge, limit
from tests.torture.clusters import DATABASE, Node, Plain, begin
from tests.torture.servers import PostgreSQL
from tests.torture.site import Fault, LeftOut, Runworker, Site

MIGRATES = True
LEASE = 12.0
SERVER, WORKER = "10.77.0.1", "10.77.0.2"
BOTH, TO, FROM = "both", "to the server", "from the server"
CUTS = [(way, seconds) for seconds in (10, 20, 30, 120) for way in (BOTH, TO, FROM)]
DEVICE = "cable"
_NOBODY = "02:00:00:00:00:77"
# A job's connection has what the worker gives its own.
_OPTIONS: dict[str, dict[str, Any]] = {
    "postgresql": {"connect_timeout": 5, "tcp_user_timeout": 5_000, "keepalives_idle": 3},
    "mysql": {"connect_timeout": 5, "read_timeout": 8, "write_timeout": 8},
}


class Link:
    """Two namespaces and what joins them; the names have the process id of this run."""

    def __init__(self) -> None:
        self.server, self.worker = (f"torture-{end}-{os.getpid()}" for end in "sw")

    def make(self) -> None:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise LeftOut("network namespaces need root, and ip (Debian: apt install iproute2)")
        for name in (self.server, self.worker):
            self._ip("netns", "add", name)
        peer = ["peer", "name", DEVICE, "netns", self.worker]
        self._ip("-n", self.server, "link", "add", DEVICE, "type", "veth", *peer)
        for name, address in ((self.server, SERVER), (self.worker, WORKER)):
            self._ip("-n", name, "address", "add", f"{address}/30", "dev", DEVICE)
            for device in ("lo", DEVICE):
                self._ip("-n", name, "link", "set", device, "up")

    def remove(self) -> None:
        for name in (self.server, self.worker):
            with contextlib.suppress(LeftOut):
                self._ip("netns", "delete", name)

    @contextlib.contextmanager
    def cut(self, way: str) -> Iterator[None]:
        there, back = (self.worker, SERVER), (self.server, WORKER)
        ends = {BOTH: [there, back], TO: [there], FROM: [back]}[way]
        for name, address in ends:
            to = ["lladdr", _NOBODY, "dev", DEVICE, "nud", "permanent"]
            self._ip("-n", name, "neighbour", "replace", address, *to)
        try:
            yield
        finally:
            for name, address in ends:
                self._ip("-n", name, "neighbour", "delete", address, "dev", DEVICE)

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Let this thread, and the processes that it starts, be in a namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{name}", os.O_RDONLY)
        try:
            if libc.setns(there, 0):
                raise LeftOut(
                    f"no network namespace may be entered: {os.strerror(ctypes.get_errno())}"
                )
            yield
        finally:
            libc.setns(own, 0)
            os.close(own)
            os.close(there)

    def _ip(self, *arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LeftOut(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def play(site: Site) -> list[Line]:
    site.needs_server()
    link = Link()
    server = (
        Node(site.server, "far")
        if isinstance(site.server, PostgreSQL)
        else Plain(site.server.folder, "far")
    )
    try:
        link.make()
        with link.inside(link.server):
            server.install()
            server.start()
            server.make(DATABASE)
            server.admit_others()
        return cut_off(site, link, server)
    finally:
        server.crash()
        link.remove()


def cut_off(site: Site, link: Link, server: Node | Plain) -> list[Line]:
    begin(site, HOST=server.socket, PORT=str(server.port), OPTIONS={})
    site.settings(LEASE_SECONDS=LEASE, HEARTBEAT_SECONDS=LEASE / 4)
    site.schedule(lambda: faults(site))
    near = site.runworker("-c", "2", "-l", "WARNING")
    address = {"NAME": DATABASE, "HOST": SERVER, "PORT": str(server.port)}
    address |= {"OPTIONS": _OPTIONS[site.kind]}
    with link.inside(link.worker):
        far = site.runworker("-c", "2", "-l", "WARNING", TORTURE_DATABASE=json.dumps(address))
    site.wait_for_workers(4)
    site.keep_enqueuing(10, [(jobs.quick, 1), (jobs.effect,), (jobs.work, 0.5)])
    lines: list[Line] = []
    site.follow({"cut": lambda which: lines.extend(cut(site, link, far, *CUTS[which]))})
    site.stop_enqueuing()
    site.wait_for_the_end()
    codes = site.stop_workers()
    evidence = Evidence(site.ledger, site.zombies)
    logs = [near.log, far.log]
    return [*judge(evidence, codes=codes, overlaps_allowed=True, logs=logs), *lines]


def faults(site: Site) -> list[Fault]:
    # One begins when the one before has been mended.
    chosen = site.pick([CUTS.index((BOTH, 20)), CUTS.index((TO, 20))], range(len(CUTS)))
    return [Fault(3.0 + number, "cut", which) for number, which in enumerate(chosen)]


def cut(site: Site, link: Link, far: Runworker, way: str, seconds: float) -> list[Line]:
    """Cut the link for so long; return when it was noticed, and when it worked again."""
    if seconds > LEASE:
        site.zombies |= {far.pid, *far.children()}
    at, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    with link.cut(way):
        time.sleep(seconds)
    healed = time.monotonic()
    ledger.write("crash", since=began)
    noticed = [moment for moment in said(far, "database away") if moment > at]
    after = (min(noticed) - at).total_seconds() if noticed else seconds
    site.until(lambda: ran_there(site, far, healed), "the far worker runs jobs again")
    name = f"{seconds} s {way}"
    return [
        limit(f"{name}: error after", after, 10, " s"),
        limit(f"{name}: works again after", time.monotonic() - healed, 15, " s"),
    ]


def said(worker: Runworker, words: str) -> list[datetime.datetime]:
    lines = [line for line in worker.log.read_text().splitlines() if words in line]
    stamps = [re.match(r"\S+ \S+", line) for line in lines]
    moments = [datetime.datetime.fromisoformat(s[0].replace(",", ".")) for s in stamps if s]
    return [moment.replace(tzinfo=datetime.UTC) for moment in moments]


def ran_there(site: Site, worker: Runworker, moment: float) -> bool:
    pids = set(worker.children())
    lines = ledger.read(site.ledger)
    return any(x["kind"] == "start" and x["pid"] in pids and x["t"] > moment for x in lines)
