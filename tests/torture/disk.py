"""T6: the disk of the database is full for a while.

The database is on a small file system of its own, in memory, which only root can make.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.torture import jobs, ledger
from tests.torture.checker import Evidence, Line, bad, judge, limit, prepare
from tests.torture.outages import load_of, ran_since
from tests.torture.site import Fault, LeftOut, Site

#: The scenario migrates the database on that file system.
MIGRATES = True
SIZE = "size=1g"


def play(site: Site) -> list[Line]:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise LeftOut("only root can make a small disk")
    with small_disk() as folder:
        site.server = type(site.server)(folder)
        site.server.install()
        site.server.start()
        try:
            return on(folder, site)
        finally:
            for worker in site.runworkers:
                worker.kill()
            site.server.stop()


@contextmanager
def small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="torture-disk-", dir="/tmp") as name:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", SIZE, "tmpfs", name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise LeftOut(f"no small disk can be made here: {done.stderr.strip()}")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=False)


def on(folder: Path, site: Site) -> list[Line]:
    from django.core.management import call_command

    move_to(site)
    call_command("migrate", verbosity=0)
    prepare()
    site.schedule(lambda: [Fault(2.0 + 20.0 * n, "full") for n in range(site.pick(1, 5))])
    worker = site.runworker("-c", "2", "-l", "WARNING")
    site.wait_for_workers(2)
    site.keep_enqueuing(60, [(jobs.quick, 1), (jobs.work, 0.05), (jobs.effect,)])
    load: list[float] = []
    resumed: list[float] = []

    def be_full(which: int) -> None:
        site.until(lambda: leave_no_room(folder), "the disk is full")
        load.append(load_of(worker, site.pick(6.0, 60.0)))
        resize(folder, SIZE)
        ledger.write("crash")  # a server may have ended without room for its log
        if not site.server.answers():
            site.server.stop()
            site.server.start()
        back = time.monotonic()
        site.until(lambda: ran_since(site, back), "work goes on")
        resumed.append(time.monotonic() - back)

    site.follow({"full": be_full})
    site.stop_enqueuing()
    site.wait_for_the_end()
    alive = worker.process.poll() is None
    codes = site.stop_workers()
    evidence = Evidence(site.ledger)
    failed = [f"{row[0]} {row[5]}" for row in evidence.rows.values() if row[1] == "FAILURE"]
    return [
        *judge(evidence, codes=codes, logs=[worker.log]),
        Line("runworker lives on", str(alive), not alive),
        bad("jobs that ended for a full disk", failed),
        *(limit("work goes on", each, 10, " s") for each in resumed),
        *(limit("CPU while it was full", each, 5, " %") for each in load),
    ]


def leave_no_room(folder: Path) -> bool:
    """Make the disk as small as what is on it; False if that has grown meanwhile."""
    space = os.statvfs(folder)
    return resize(folder, f"size={(space.f_blocks - space.f_bfree) * space.f_frsize}")


def resize(folder: Path, option: str) -> bool:
    command = ["mount", "-o", f"remount,{option}", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def move_to(site: Site) -> None:
    """Let this process, and those that are started from now on, use the database there."""
    import environ
    from django.db import connection, connections

    url = site.server.make("torture_disk")
    settings: dict[str, Any] = environ.Env.db_url_config(url)
    where = {key: settings[key] for key in ("NAME", "HOST", "PORT") if settings.get(key)}
    connection.close()
    connections["default"].settings_dict.update(where)
    site.environment["TORTURE_DATABASE"] = json.dumps(where)
