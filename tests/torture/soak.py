"""T17: all features at a steady rate with a kill a minute: what must stay flat stays flat."""

from __future__ import annotations

import time
from pathlib import Path

from tests.torture.checker import Evidence, Line, judge, limit
from tests.torture.forks import sessions
from tests.torture.kills import MIX
from tests.torture.site import Fault, Runworker, Site

#: How much a process may grow after it is warm.
MIB = 5.0


def play(site: Site) -> list[Line]:
    seconds = site.pick(30, 3_600)
    every = site.pick(10, 60)
    site.schedule(
        lambda: (
            [
                Fault(float(at), "worker", site.chance.randrange(99))
                for at in range(every, seconds, every)
            ]
            + [Fault(float(seconds), "end")]
        )
    )
    worker = site.runworker("-c", "2", "--beat", "-l", "WARNING")
    site.wait_for_workers(2)
    site.keep_enqueuing(50, MIX)
    memory: dict[int, list[float]] = {}
    counts: list[int] = []
    looked = [0.0]

    def look() -> None:
        if time.monotonic() - looked[0] < 1.0:
            return
        looked[0] = time.monotonic()
        for pid in [worker.pid, *worker.children()]:
            if (size := mebibytes(pid)) is not None:
                memory.setdefault(pid, []).append(size)
        counts.append(sessions(site))

    site.follow({"worker": lambda which: kill(site, worker, which), "end": lambda _: None}, look)
    site.stop_enqueuing()
    site.wait_for_the_end()
    codes = site.stop_workers()
    grown = [growth(sizes) for sizes in memory.values() if len(sizes) >= 8]
    half = len(counts) // 2
    more = max(counts[half:], default=0) - max(counts[:half], default=0)
    lines = judge(Evidence(site.ledger), codes=codes, logs=[worker.log])
    return [
        *lines,
        # A short run is all warm-up.
        limit("growth of a process", max(grown, default=0.0), site.pick(30.0, MIB), " MiB"),
        limit("more sessions in the second half", more, 4),
        *dead_rows(site),
    ]


def kill(site: Site, worker: Runworker, which: int) -> None:
    if pids := worker.workers():
        site.kill_process(pids[which % len(pids)])


def growth(sizes: list[float]) -> float:
    """Return how much it grew from the end of the first quarter on."""
    warm = sizes[len(sizes) // 4 :]
    return max(warm[-1] - warm[0], 0.0)


def mebibytes(pid: int) -> float | None:
    """Return the memory of a process that no other one shares."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    private = [line for line in text.splitlines() if line.startswith("Private_")]
    return sum(int(line.split()[1]) for line in private) / 1024


def dead_rows(site: Site) -> list[Line]:
    """Tell how many dead rows PostgreSQL has for each that lives, after its autovacuum."""
    if site.kind != "postgresql":
        return []
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n_live_tup, n_dead_tup, pg_relation_size(relid), pg_indexes_size(relid) "
            "FROM pg_stat_user_tables WHERE relname = 'django_jobs_job'"
        )
        live, dead, table, indexes = cursor.fetchone()
    text = f"{dead:,} dead of {live:,}; {table / 2**20:.1f} MiB, indexes {indexes / 2**20:.1f} MiB"
    return [Line("rows of jobs", text)]
