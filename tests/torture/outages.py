"""T6: the database is away for a while, restarted many times, crashed, read-only."""

from __future__ import annotations

import json
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
    if site.kind == "mysql":
        be_no_administrator(site)
    worker = site.runworker("-c", "2", "-l", "WARNING")
    site.wait_for_workers(2)
    site.keep_enqueuing(30, [(jobs.quick, 1), (jobs.work, 0.05)])
    load: list[float] = []
    site.follow(
        {
            "away": lambda _which: load.append(be_away(site, worker, away)),
            "restart": site.restart_database,
            "crash": site.crash_database,
            "read-only": lambda _which: load.append(be_read_only(site, worker)),
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
    yield Fault(away + 8.0 + 2.5 * restarts, "read-only")


def be_away(site: Site, worker: Runworker, seconds: float) -> float:
    """Stop the server for so long; return the share of a processor that the workers used."""
    site.server.stop()
    load = load_of(worker, seconds)
    site.server.start()
    return load


def load_of(worker: Runworker, seconds: float) -> float:
    """Wait for so long; return the share of a processor that each process of *worker* used."""
    pids = [worker.pid, *worker.children()]
    before = sum(map(cpu_seconds, pids))
    time.sleep(seconds)
    return 100 * (sum(map(cpu_seconds, pids)) - before) / seconds / len(pids)


def be_no_administrator(site: Site) -> None:
    """Let workers use an account to which ``read_only`` applies."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE USER app@127.0.0.1")
        cursor.execute(f"GRANT ALL ON {connection.settings_dict['NAME']}.* TO app@127.0.0.1")
    site.environment["TORTURE_DATABASE"] = json.dumps({"USER": "app"})


def be_read_only(site: Site, worker: Runworker) -> float:
    """As in a failover: the server answers, and refuses each write; return the workers' load."""
    seconds = site.pick(3, 30)
    if site.kind == "mysql":
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SET GLOBAL read_only = ON")
            load = load_of(worker, seconds)
            cursor.execute("SET GLOBAL read_only = OFF")
        connection.close()
        return load
    import psycopg

    name = os.environ["DATABASE_URL"].rpartition("/")[2]
    with psycopg.connect(site.server.make("torture_aside"), autocommit=True) as session:
        change = f"ALTER DATABASE {name} SET default_transaction_read_only"
        cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        session.execute(f"{change} = on")
        session.execute(cut)
        load = load_of(worker, seconds)
        session.execute(f"{change} = off")
        session.execute(cut)
    from django.db import connection

    connection.close()
    return load


def cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ran_since(site: Site, moment: float) -> bool:
    stories = Evidence.bodies(site.ledger)
    return any(began > moment for began in stories)
