"""django_jobs and the peers: drain, enqueuing and latency in one measurement of each."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .arena import ROOT, Arena, Contestant, Failed, Pool
from .cases import Case
from .measure import Figures, drain_steps, percentiles, rate
from .peer_catalog import PEERS, Peer
from .peer_environment import environment
from .schedules import WARMING
from .servers import LeftOut, PostgreSQL, Server

_OURS = "django_jobs"
#: How many jobs are enqueued one by one, to measure that.
_SINGLES = 1_000
_LATENCIES = 100


@dataclasses.dataclass(frozen=True)
class PeerContestant(Contestant):
    peer: Peer = PEERS[0]
    version: str = ""

    @property
    def label(self) -> str:
        return f"{self.peer.name} {self.version}, {self.peer.store}, {self.peer.results}"

    def commands(self) -> list[list[str]]:
        return [["-m", "benchmarks.peers", self.system, "work"]] * self.peer.commands


class PeerDatabase(PostgreSQL):
    """A database with the peer's tables, made anew for each measurement."""

    peer: Peer
    python: str

    def create(self) -> None:
        self.connection.execute(f"CREATE DATABASE {self.name}")
        done = subprocess.run(  # noqa: S603 (the peer's own preparation)
            [self.python, "-m", "benchmarks.peers", self.peer.module, "prepare"],
            env={"DATABASE_URL": self.url}, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"its tables could not be made: {done.stderr[-1000:]}")

    def reset(self) -> None:
        self.connection.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        self.create()


def measure(arena: Arena, jobs: int) -> Figures:
    """Enqueue jobs, drain them, and then send single ones to the idle workers."""
    enqueuing = arena.produce("load", jobs, min(jobs, _SINGLES))
    with arena.workers(warm=False):
        arena.wait_for(jobs)
        drained = list(arena.runs().values())
        sent = arena.produce("paced", "idle", _LATENCIES, jobs)["sent"]
        arena.wait_for(jobs + len(sent))
        arena.wait_until_recorded()
    begun = arena.runs()
    latencies = percentiles(waits(begun, sent, jobs)[WARMING:])
    return {
        **rate({}, jobs - 1, (max(drained) - min(drained)) / 1e9),
        "enqueued_per_second": min(jobs, _SINGLES) / enqueuing["seconds"],
        **{name: latencies[name] for name in ("p50_ms", "p99_ms", "samples_ms")},
    }


def waits(begun: Mapping[int, int], sent: Sequence[int], first: int) -> list[float]:
    """Return the milliseconds between sending each job and its begin, from *first* on."""
    if missing := [job for job in range(first, first + len(sent)) if job not in begun]:
        raise Failed(f"job {missing[0]} did not run")
    return [(begun[first + number] - at) / 1e6 for number, at in enumerate(sent)]


CASE = Case(
    "peers",
    "The peers: drain of no-op jobs by two worker processes, enqueuing, latency when idle",
    measure,
    "per_second",
    {"": 0, _OURS: 60_000},
    also=("enqueued_per_second", "p50_ms"),
    references=(_OURS,),
    bars=True,
)

#: Of the systems that record the steps of a job.
STEPS = Case(
    "peers_steps",
    "Durable jobs of three no-op steps, by two worker processes, jobs/s",
    drain_steps,
    "per_second",
    {"": 400, _OURS: 4_000},
    references=(_OURS,),
    bars=True,
)
# By system, the module that sends and runs jobs with steps.
_WITH_STEPS = {_OURS: _OURS, "dbos": "dbos_steps"}


def with_steps(taking_part: Sequence[Contestant]) -> list[Contestant]:
    """Return those that record steps, without the number of jobs of other cases."""
    return [
        dataclasses.replace(each, system=_WITH_STEPS[each.system], pool=Pool())
        for each in taking_part
        if each.system in _WITH_STEPS
    ]


def contestants(
    servers: Sequence[Server],
    systems: Sequence[str],
    folder: Path,
    left_out: list[str],
    stack: contextlib.ExitStack,
) -> Iterator[Contestant]:
    """Yield django_jobs and the peers that can be installed; note the reasons of the others."""
    stores = {each.kind: each for each in servers}
    database = stores.get("postgresql")
    if database is not None and _OURS in systems:
        yield Contestant(_OURS, database, database.url)
    for peer in PEERS:
        if peer.name not in systems:
            continue
        try:
            if peer.store not in stores:
                raise LeftOut(f"{peer.name}: left out, there is no {peer.store}")
            python, version = environment(peer, folder)
        except LeftOut as reason:
            left_out.append(str(reason))
            continue
        server = stores[peer.store]
        if isinstance(server, PostgreSQL):
            server = _database(server, peer, python)
            stack.callback(server.close)
        yield PeerContestant(
            peer.module, server, server.url, python=python, pool=Pool(jobs=peer.jobs),
            peer=peer, version=version,
        )  # fmt: skip


def _database(server: PostgreSQL, peer: Peer, python: str) -> PeerDatabase:
    made = PeerDatabase(server.url, f"{server.name}_{peer.module}")
    made.peer, made.python = peer, python
    return made
