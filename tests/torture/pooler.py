"""T16: workers behind PgBouncer, in transaction mode with few sessions, and in session mode."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.ports import free_port
from tests.postgresql import as_account
from tests.torture import jobs, ledger
from tests.torture.checker import Evidence, Line, judge, limit
from tests.torture.site import LeftOut, Site

#: How many server sessions each pool has, and the longest median wait for a job's start: a session
#: that is shared hears no notification, so workers poll.
MODES = {"transaction": (6, 1.5), "session": (60, 0.5)}
_WAKEUP = re.compile("coordinator ready .*wakeup=(.*)")


def play(site: Site) -> list[Line]:
    if site.kind != "postgresql":
        raise LeftOut("PgBouncer speaks PostgreSQL's protocol only")
    if shutil.which("pgbouncer") is None:
        raise LeftOut("pgbouncer is not installed (Debian: apt install pgbouncer)")
    site.settings(LEASE_SECONDS=6, HEARTBEAT_SECONDS=1.5)
    lines, codes = [], []
    for mode in MODES:
        pooler, port = start(site, mode)
        try:
            lines += through(site, mode, port)
            codes += site.stop_workers()
            site.runworkers.clear()
        finally:
            pooler.terminate()
            pooler.wait()
    logs = site.folder.glob("runworker-*.log")
    return [*judge(Evidence(site.ledger), codes=codes, logs=logs), *lines]


def through(site: Site, mode: str, port: int) -> list[Line]:
    from django_jobs.models import Worker

    site.environment["TORTURE_DATABASE"] = json.dumps({
        "HOST": "127.0.0.1", "PORT": str(port), "DISABLE_SERVER_SIDE_CURSORS": True,
    })  # fmt: skip
    worker = site.runworker("-c", "4", "-l", "INFO")
    site.wait_for_workers(4)
    began = time.monotonic()
    for number in range(site.pick(20, 300)):
        site.enqueue(jobs.quick, number)
        time.sleep(0.1)
    site.wait_for_the_end()
    waits = waits_since(site, began)
    site.keep_enqueuing(60, [(jobs.quick, 1), (jobs.effect,), (jobs.exclusive, 1)])
    for number in range(site.pick(3, 60)):
        time.sleep(1.0)
        site.kill_worker(number)
    site.stop_enqueuing()
    site.wait_for_the_end()
    lost = Worker.objects.filter(lost_at__isnull=False, stopped_at=None).count()
    told = set(_WAKEUP.findall(worker.log.read_text()))
    heard, prepared = hears(port), prepared_statements(port)
    polls = all(way.startswith("polling") for way in told)
    return [
        Line(f"{mode}: killed workers that are marked", str(lost)),
        Line(f"{mode}: LISTEN receives", str(heard), heard is not (mode == "session")),
        Line(f"{mode}: the log says", ", ".join(told), not told or polls is heard),
        Line(f"{mode}: prepared statements", str(prepared), prepared > 0),
        limit(f"{mode}: latency, median", statistics.median(waits), MODES[mode][1], " s"),
    ]


def waits_since(site: Site, moment: float) -> list[float]:
    """Return how long each job that was enqueued since *moment* waited for its start."""
    lines = list(ledger.read(site.ledger))
    begun = {line["id"]: line["t"] for line in lines if line["kind"] == "start"}
    new = [line for line in lines if line["kind"] == "ack" and line["t"] > moment]
    return [max(0.0, begun[line["id"]] - line["t"]) for line in new]


def hears(port: int) -> bool:
    """Tell whether a session of the pooler receives a notification that another one sent."""
    with session(port) as listener, session(port) as sender:
        listener.execute("LISTEN torture")
        sender.execute("NOTIFY torture")
        return bool(list(listener.notifies(timeout=1.0, stop_after=1)))


def prepared_statements(port: int) -> int:
    """Return how many statements are prepared in the server's sessions that clients get."""
    found = 0
    for _ in range(20):
        with session(port) as each:
            row = each.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
            found = max(found, row[0] if row else 0)
    return found


def session(port: int) -> Any:
    import psycopg

    url = urlsplit(os.environ["DATABASE_URL"])
    return psycopg.connect(
        host="127.0.0.1", port=port, user=url.username, dbname=url.path[1:], autocommit=True,
        prepare_threshold=None,
    )  # fmt: skip


def start(site: Site, mode: str) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    folder = site.server.folder / "pooler"
    folder.mkdir(exist_ok=True)
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={site.server.port} user=postgres\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        f"auth_file = {folder}/users\npool_mode = {mode}\ndefault_pool_size = {MODES[mode][0]}\n"
        "max_client_conn = 200\nunix_socket_dir =\nignore_startup_parameters = extra_float_digits,"
        "options\n"
    )
    account = site.server.account()
    if account is not None:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, account)
    with Path(folder, "log").open("w") as log:
        pooler = subprocess.Popen(
            ["pgbouncer", str(folder / "ini")], **as_account(account), stdout=log, stderr=log
        )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if pooler.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return pooler, port
    pooler.kill()
    raise LeftOut("pgbouncer did not start: " + (folder / "log").read_text()[-500:] + os.linesep)
