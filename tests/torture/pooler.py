"""T16: workers behind PgBouncer in transaction mode, with few sessions on the server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path

from tests.postgresql import as_account
from tests.torture import jobs
from tests.torture.checker import Evidence, Line, judge, limit
from tests.torture.site import LeftOut, Site

POOL = 6


def play(site: Site) -> list[Line]:
    if site.kind != "postgresql":
        raise LeftOut("PgBouncer speaks PostgreSQL's protocol only")
    if shutil.which("pgbouncer") is None:
        raise LeftOut("pgbouncer is not installed (Debian: apt install pgbouncer)")
    pooler, port = start(site)
    try:
        return through(site, port)
    finally:
        pooler.terminate()
        pooler.wait()


def through(site: Site, port: int) -> list[Line]:
    from django_jobs.models import Worker

    site.settings(LEASE_SECONDS=6, HEARTBEAT_SECONDS=1.5)
    site.environment["TORTURE_DATABASE"] = json.dumps({
        "HOST": "127.0.0.1", "PORT": str(port), "DISABLE_SERVER_SIDE_CURSORS": True,
    })  # fmt: skip
    worker = site.runworker("-c", "4", "-l", "WARNING")
    site.wait_for_workers(4)
    asked: list[float] = []
    for number in range(site.pick(30, 300)):
        asked.append(time.monotonic())
        site.enqueue(jobs.quick, number)
        time.sleep(0.1)
    site.keep_enqueuing(60, [(jobs.quick, 1), (jobs.effect,), (jobs.exclusive, 1)])
    for number in range(site.pick(3, 60)):
        time.sleep(1.0)
        site.kill_worker(number)
    site.stop_enqueuing()
    site.wait_for_the_end()
    lost = Worker.objects.filter(lost_at__isnull=False, stopped_at=None).count()
    codes = site.stop_workers()
    evidence = Evidence(site.ledger)
    begun = [s.starts[0][0] for s in map(evidence.stories.get, evidence.acknowledged) if s]
    waits = [began - at for at, began in zip(asked, begun, strict=False)]
    log = worker.log.read_text()
    told = "NOTIFY" in log or "notif" in log.lower()
    return [
        *judge(evidence, codes=codes, logs=[worker.log]),
        Line("killed workers that are marked", str(lost)),
        Line("the log says that it polls", str(told), not told),
        limit("latency, median", statistics.median(waits), 1.5, " s"),
    ]


def start(site: Site) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = site.server.folder / "pooler"
    folder.mkdir(exist_ok=True)
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={site.server.port} user=postgres\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        f"auth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = {POOL}\n"
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
