"""T16: the database allows fewer connections than the processes want; a pool of two connections.

Processes are killed while a limit refuses connections to those that replace them. When it is
lifted, all of them work. On PostgreSQL four threads then share a pool of two connections.
"""

from __future__ import annotations

import importlib.util
import json
import time

from tests.torture import jobs
from tests.torture.checker import Evidence, Line, bad, judge
from tests.torture.site import Fault, Site

ROLE = "limited"
PROCESSES = 4


def play(site: Site) -> list[Line]:
    from django_jobs.models import Worker

    site.needs_server()
    site.settings(LEASE_SECONDS=4, HEARTBEAT_SECONDS=1)
    make_role(site)
    seconds = site.pick(6, 60)
    site.schedule(lambda: faults(site, seconds))
    account = {"USER": ROLE}
    site.environment["TORTURE_DATABASE"] = json.dumps(account)
    worker = site.runworker("-c", str(PROCESSES), "-l", "WARNING")
    site.wait_for_workers(PROCESSES)
    site.keep_enqueuing(40, [(jobs.quick, 1), (jobs.work, 0.05), (jobs.effect,)])
    before = 0

    def refuse(_which: int) -> None:
        nonlocal before
        before = sessions(site)
        # So many connections are there already: whoever lost one gets no other.
        allow(site, max(1, before - PROCESSES))

    site.follow({
        "refuse": refuse, "allow": lambda _: allow(site, None), "worker": site.kill_worker,
    })  # fmt: skip
    refused = worker.log.read_text().count("oo many connections") + worker.log.read_text().count(
        "max_user_connections"
    )
    live = Worker.objects.live()
    site.until(lambda: live.count() >= PROCESSES and ready(worker), "all processes work again")
    site.stop_enqueuing()
    site.wait_for_the_end()
    alive = worker.process.poll() is None
    codes = site.stop_workers()
    lines = [
        Line("sessions before the limit", str(before)),
        Line("refused connections in the log", str(refused), not refused),
        Line("runworker lives on", str(alive), not alive),
    ]
    if site.kind == "postgresql" and importlib.util.find_spec("psycopg_pool"):
        codes += through_a_pool(site, account)
        lines.append(Line("a pool of two connections", "four threads shared it"))
    evidence = Evidence(site.ledger)
    failed = [f"{row[0]} {row[5]}" for row in evidence.rows.values() if row[1] == "FAILURE"]
    logs = site.folder.glob("runworker-*.log")
    return [
        *judge(evidence, codes=codes, logs=logs), *lines,
        bad("jobs that failed for want of a connection", failed),
    ]  # fmt: skip


def ready(worker) -> bool:  # type: ignore[no-untyped-def]
    return len(worker.workers()) >= PROCESSES


def faults(site: Site, seconds: float) -> list[Fault]:
    kills = [Fault(2.0 + at, "worker", site.chance.randrange(99)) for at in range(int(seconds))]
    return [Fault(1.0, "refuse"), *kills, Fault(3.0 + seconds, "allow")]


def through_a_pool(site: Site, account: dict[str, str]) -> list[int]:
    pool = {"pool": {"min_size": 1, "max_size": 2, "timeout": 30}}
    site.environment["TORTURE_DATABASE"] = json.dumps(account | {"OPTIONS": pool})
    site.runworker("-P", "threads", "-c", "4", "-X", "prefork", "-l", "WARNING")
    for _ in range(site.pick(50, 500)):
        site.enqueue(jobs.effect)
        site.enqueue(jobs.exclusive, 1)
        time.sleep(0.01)
    site.wait_for_the_end()
    return site.stop_workers()


def make_role(site: Site) -> None:
    if site.kind == "postgresql":
        execute(
            f"DROP OWNED BY {ROLE}" if role_exists() else f"CREATE ROLE {ROLE} LOGIN",
            f"GRANT ALL ON SCHEMA public TO {ROLE}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
        )
    else:
        execute(f"CREATE OR REPLACE USER {ROLE}", f"GRANT ALL ON *.* TO {ROLE}")
    allow(site, None)


def role_exists() -> bool:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
        return cursor.fetchone() is not None


def allow(site: Site, most: int | None) -> None:
    """Let the role have *most* connections; None lifts the limit."""
    if site.kind == "postgresql":
        execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT {-1 if most is None else most}")
    else:
        execute(f"ALTER USER {ROLE} WITH MAX_USER_CONNECTIONS {most or 0}")


def sessions(site: Site) -> int:
    from django.db import connection

    query = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE usename = %s",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE user = %s",
    }[site.kind]
    with connection.cursor() as cursor:
        cursor.execute(query, [ROLE])
        return int(cursor.fetchone()[0])


def execute(*statements: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
