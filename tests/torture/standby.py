"""The primary of a PostgreSQL with a synchronous standby is killed, and the standby promoted."""

from __future__ import annotations

import time
from typing import Any

from tests.torture import ledger
from tests.torture.checker import Line, limit
from tests.torture.clusters import DATABASE, Node, begin, hosts, needs, next_run
from tests.torture.kills import LEASE, MIX, live_copies, verdict
from tests.torture.servers import PostgreSQL
from tests.torture.site import Fault, Site

MIGRATES = True


def play(site: Site) -> list[Line]:
    needs(site, "postgresql", "a standby and a multi-host address are PostgreSQL's")
    assert isinstance(site.server, PostgreSQL)
    pair = [Node(site.server, f"standby-{name}") for name in "ab"]
    try:
        pair[0].install()
        pair[0].start()
        pair[0].make(DATABASE)
        pair[1].follow(pair[0])
        return fail_over(site, pair)
    finally:
        for node in pair:
            node.kill()


def fail_over(site: Site, pair: list[Node]) -> list[Line]:
    begin(site, **hosts(pair))
    site.settings(LEASE_SECONDS=LEASE, HEARTBEAT_SECONDS=1)
    site.schedule(lambda: faults(site))
    for _ in range(2):
        site.runworker("-c", "2", "-l", "WARNING")
    site.wait_for_workers(4)
    site.keep_enqueuing(site.pick(60, 100), MIX)
    acknowledged: list[int] = []
    recoveries: list[float] = []
    doubles: set[Any] = set()
    site.follow(
        {
            "worker": site.kill_worker,
            "stall": lambda _which: acknowledged.append(
                stall(site, pair[1], site.pick(2.0, 3 * LEASE))
            ),
            "primary": lambda _which: recoveries.append(replace(site, pair)),
        },
        meanwhile=lambda: doubles.update(live_copies()),
    )
    site.stop_enqueuing()
    site.wait_for_the_end()
    lines = verdict(site, site.stop_workers(), doubles)
    lines.append(Line("acknowledged without the standby", str(acknowledged), any(acknowledged)))
    return lines + [limit("work goes on after a promotion", each, 15, " s") for each in recoveries]


def faults(site: Site) -> list[Fault]:
    found = []
    for number in range(site.pick(2, 12)):
        at = 2.0 + 14 * number
        found += [Fault(at, "stall"), Fault(at + 5, "worker", site.chance.randrange(100))]
        found += [Fault(at + 7, "primary")]
    return found


def stall(site: Site, standby: Node, seconds: float) -> int:
    """Let the standby stand still; return how many calls were acknowledged meanwhile."""
    began = time.monotonic()
    standby.freeze(seconds)
    ended = time.monotonic()
    lines = ledger.read(site.ledger)
    # Commits that were on their way when it began.
    return sum(line["kind"] == "ack" and began + 0.2 < line["t"] < ended - 0.2 for line in lines)


def replace(site: Site, pair: list[Node]) -> float:
    """Kill the primary, promote the standby; return the seconds to the next new job."""
    primary, standby = pair
    primary.kill()
    ledger.write("crash")
    time.sleep(site.pick(1.0, 5.0))  # somebody notices
    standby.promote()
    promoted = time.monotonic()
    ledger.write("crash")
    recovered = next_run(site, promoted)
    primary.follow(standby)
    pair.reverse()
    return recovered
