"""Workers on each of three Galera nodes: conflicts at COMMIT, a node killed and joined again."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from tests.torture import jobs, ledger
from tests.torture.checker import Line, bad, limit
from tests.torture.clusters import DATABASE, GALERA, GaleraNode, begin, needs, next_run
from tests.torture.kills import MIX, live_copies, verdict
from tests.torture.site import Fault, LeftOut, Site

MIGRATES = True
#: Longer than a cluster takes to drop a node that is silent.
LEASE = 8.0


def play(site: Site) -> list[Line]:
    needs(site, "mysql", "Galera replicates MariaDB", rsync="rsync", mariadbd="mariadb-server")
    if not Path(GALERA).exists():
        raise LeftOut("Galera is not installed (Debian: apt install galera-4)")
    nodes = [GaleraNode(site.server.folder, f"galera-{name}") for name in "abc"]
    for node in nodes:
        node.peers = [each for each in nodes if each is not node]
    try:
        nodes[0].install()
        for node in nodes:
            node.start()
        nodes[0].make(DATABASE)
        return break_it(site, nodes)
    finally:
        for node in nodes:
            node.crash()


def break_it(site: Site, nodes: list[GaleraNode]) -> list[Line]:
    # This process sees what another node has committed; workers and callers need not.
    here = {"HOST": "127.0.0.1", "OPTIONS": {"init_command": "SET SESSION wsrep_sync_wait = 1"}}
    begin(site, PORT=str(nodes[0].port), **here)
    site.settings(LEASE_SECONDS=LEASE, HEARTBEAT_SECONDS=2)
    site.schedule(lambda: faults(site.chance, site.pick(1, 20)))
    owns = [{"NAME": DATABASE, "HOST": "127.0.0.1", "PORT": str(node.port)} for node in nodes]
    for own in owns:
        site.runworker("-c", "2", "-l", "WARNING", TORTURE_DATABASE=json.dumps(own))
    site.wait_for_workers(6)
    # Each node wants the one permit.
    site.enqueue_many(jobs.exclusive, [(0,)] * site.pick(60, 1_000))
    site.wait_for_the_end()
    early = overlaps(site)
    for own in owns:
        site.keep_enqueuing(site.pick(20, 30), MIX, **own)
    recoveries: list[float] = []
    doubles: set[Any] = set()
    site.follow(
        {
            "worker": site.kill_worker,
            "node": lambda which: recoveries.append(kill(site, nodes[1 + which % 2])),
        },
        meanwhile=lambda: doubles.update(live_copies()),
    )
    site.stop_enqueuing()
    site.wait_for_the_end()
    # Workers of the dead node have no lease: theirs and others' bodies may run at once.
    lines = verdict(site, site.stop_workers(), doubles, overlaps_allowed=True)
    lines += [
        bad("overlaps while all nodes lived", early),
        bad("conflicts said to be outages", conflicts(site)),
    ]
    return lines + [
        limit("work goes on after a node's death", each, 15, " s") for each in recoveries
    ]


def overlaps(site: Site) -> list[str]:
    return [line["id"] for line in ledger.read(site.ledger) if line["kind"] == "overlap"]


def conflicts(site: Site) -> list[str]:
    """Return the lines that take a conflict for an outage."""
    logs = [worker.log.read_text() for worker in site.runworkers]
    return [line for log in logs for line in log.splitlines() if "away" in line and "(1213" in line]


def faults(chance: random.Random, rounds: int) -> list[Fault]:
    return [
        Fault(at, kind, chance.randrange(100))
        for number in range(rounds)
        for at, kind in ((5.0 + 20 * number, "worker"), (8.0 + 20 * number, "node"))
    ]


def kill(site: Site, node: GaleraNode) -> float:
    """Kill the *node* and let it join again; return the seconds to the next job that was new."""
    killed = time.monotonic()
    node.crash()
    recovered = next_run(site, killed)
    time.sleep(site.pick(1.0, 2 * LEASE))
    node.start()
    ledger.write("crash", since=killed)
    return recovered
