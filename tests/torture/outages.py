"""T6: the database is away for a while, restarted many times, crashed, read-only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.torture import jobs
from tests.torture.checker import Evidence, Line, bad, judge, limit
from tests.torture.site import Fault, Runworker, Site


def play(site: Site) -> list[Line]:
    site.needs_server()
    away, restarts = site.pick(6, 60), site.pick(3, 20)
    site.schedule(lambda: list(faults(site, away, restarts)))
    worker = site.runworker("-c", "2", "-l", "WARNING")
    site.wait_for_workers(2)
    site.keep_enqueuing(30, [(jobs.quick, 1), (jobs.work, 0.05)])
    load: list[float] = []
    site.follow(
        {
            "away": lambda _which: load.append(be_away(site, worker, away)),
            "restart": site.restart_database,
            "crash": site.crash_database,
            "read-only": lambda _which: be_read_only(site),
        }
    )
    back = time.monotonic()
    site.until(lambda: ran_since(site, back), "work goes on")
    resumed = time.monotonic() - back
    site.stop_enqueuing()
    site.wait_for_the_end()
    alive = worker.process.poll() is None
    codes = site.stop_workers()
    evidence = Evidence(site.ledger)
    failed = [f"{row[0]} {row[5]}" for row in evidence.rows.values() if row[1] == "FAILURE"]
    lines = judge(evidence, codes=codes, logs=[worker.log])
    lines += [
        Line("runworker lives on", str(alive), not alive),
        bad("jobs that ended for an outage", failed),
        limit("work goes on after the last fault", resumed, 10, " s"),
    ]
    return lines + [limit("CPU while it was away", each, 5, " %") for each in load]


def faults(site: Site, away: float, restarts: int) -> Iterator[Fault]:
    yield Fault(1.0, "away")
    for number in range(restarts):
        yield Fault(away + 4.0 + 2.5 * number, "restart")
    yield Fault(away + 5.0 + 2.5 * restarts, "crash")
    if site.kind == "postgresql":
        yield Fault(away + 8.0 + 2.5 * restarts, "read-only")


def be_away(site: Site, worker: Runworker, seconds: float) -> float:
    """Stop the server for so long; return the share of a processor that the workers used."""
    site.server.stop()
    pids = [worker.pid, *worker.children()]
    before = sum(map(cpu_seconds, pids))
    time.sleep(seconds)
    used = sum(map(cpu_seconds, pids)) - before
    site.server.start()
    return 100 * used / seconds / len(pids)


def be_read_only(site: Site) -> None:
    """As in a failover: the server answers, and refuses each write."""
    import psycopg

    name = os.environ["DATABASE_URL"].rpartition("/")[2]
    with psycopg.connect(site.server.make("torture_aside"), autocommit=True) as session:
        change = f"ALTER DATABASE {name} SET default_transaction_read_only"
        cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        session.execute(f"{change} = on")
        session.execute(cut)
        time.sleep(site.pick(3, 30))
        session.execute(f"{change} = off")
        session.execute(cut)
    from django.db import connection

    connection.close()


def cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ran_since(site: Site, moment: float) -> bool:
    stories = Evidence.bodies(site.ledger)
    return any(began > moment for began in stories)
