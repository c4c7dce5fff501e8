"""T17: all features at a steady rate with a kill a minute: what must stay flat stays flat.

``SECONDS`` in the environment is how long it takes (3600).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.torture import features
from tests.torture.checker import Evidence, Line, bad, judge, limit
from tests.torture.forks import sessions
from tests.torture.kills import MIX
from tests.torture.site import Fault, Runworker, Site
from tests.torture.ticks import Ticks, make_schedules, stop_schedules

RATE = 50
#: How much a process may grow after it is warm.
MIB = 5.0
#: Seconds for which jobs are kept that succeeded, or were revoked.
KEPT = 120
#: A process is judged that lived for so many seconds.
LONG_LIVED = 600
THREADS = ("-P", "threads", "-c", "4", "-X", "prefork")


def play(site: Site) -> list[Line]:
    seconds = int(os.environ.get("SECONDS") or site.pick(20, 3_600))
    every = site.pick(7, 60)
    kinds = ("worker", "worker", "runworker")
    site.schedule(
        lambda: (
            [
                Fault(float(at), kinds[number % 3], site.chance.randrange(99))
                for number, at in enumerate(range(every, seconds, every))
            ]
            + [Fault(float(seconds), "end")]
        )
    )
    site.settings(LEASE_SECONDS=10, HEARTBEAT_SECONDS=2, RESULT_EXPIRES=KEPT)
    make_schedules()
    # Only the first one is killed: the others live as long as the run.
    site.runworker("-c", "2", "--beat", "-l", "WARNING")
    steady = [site.runworker("-c", "2", "-l", "WARNING"), site.runworker(*THREADS)]
    site.wait_for_workers(5)
    watch = Watch(site, steady)
    began = time.monotonic()
    site.keep_enqueuing(RATE, [*MIX, *features.MIX])
    site.follow(
        {
            "worker": lambda which: kill_worker(site, which),
            "runworker": lambda _: kill_runworker(site),
            "end": lambda _: None,
        },
        watch.look,
    )
    took = time.monotonic() - began
    site.stop_enqueuing()
    left = backlog()
    stop_schedules()
    site.wait_for_the_end()
    watch.ticks.note()
    codes = site.stop_workers()
    evidence = Evidence(site.ledger)
    failed = [
        f"{row[0]} {row[4]} {row[5]}"
        for row in evidence.rows.values()
        # Its process was killed too often, or once with acks_late=False.
        if row[1] == "FAILURE"
        and not row[5].endswith(".WorkerLost")
        and not row[4].endswith(".failing")
    ]
    return [
        *judge(evidence, codes=codes, logs=site.folder.glob("runworker-*.log")),
        Line("calls a second", f"{len(evidence.acknowledged) / took:.1f}"),
        # More of them tells that the machine is too slow for this rate: sizes grow with them.
        limit("jobs that wait when the calls end", left, RATE * 60),
        bad("failures without a cause", failed),
        *watch.lines(site.pick(30.0, MIB)),
    ]


def backlog() -> int:
    from django_jobs.models import Job

    return Job.objects.live().exclude(status="SCHEDULED").count()


def kill_worker(site: Site, which: int) -> None:
    first = killed_one(site)
    if pids := first.workers():
        site.kill_process(pids[which % len(pids)])


def kill_runworker(site: Site) -> None:
    site.kill_runworker(site.runworkers.index(killed_one(site)))


def killed_one(site: Site) -> Runworker:
    return next(worker for worker in site.runworkers if "--beat" in list(worker.process.args))  # type: ignore[arg-type]


class Watch:
    """What is measured meanwhile."""

    def __init__(self, site: Site, steady: Sequence[Runworker]) -> None:
        self._site, self._steady = site, steady
        self._memory: dict[int, list[float]] = {}
        self._sessions: list[int] = []
        self._sizes: list[dict[str, float]] = []
        self.ticks = Ticks()
        self._due = dict.fromkeys(("memory", "rows"), 0.0)

    def look(self) -> None:
        if self._is_due("memory", 1.0):
            for worker in self._site.runworkers:
                for pid in [worker.pid, *worker.children()]:
                    if (size := mebibytes(pid)) is not None:
                        self._memory.setdefault(pid, []).append(size)
            self._sessions.append(sessions(self._site))
        if self._is_due("rows", self._site.pick(5.0, 30.0)):
            self.ticks.note()
            self._sizes.append(sizes(self._site))

    def _is_due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + seconds
        return True

    def lines(self, mib: float) -> list[Line]:
        least = LONG_LIVED if max(map(len, self._memory.values())) > LONG_LIVED else 8
        grown = {pid: growth(all_) for pid, all_ in self._memory.items() if len(all_) >= least}
        worst = max(grown, key=lambda pid: grown[pid])
        lines = [
            Line("processes watched", f"{len(grown)} of {len(self._memory)}; the one that grew "
                 f"most: {quarters(self._memory[worst])} MiB"),
            limit("growth of a process", grown[worst], mib, " MiB"),
            Line("sessions", f"{quarters(self._sessions)}"),
            limit("more sessions in the second half", more(self._sessions), 4),
            *self.ticks.lines(),
        ]  # fmt: skip
        for name in self._sizes[-1] if self._sizes else ():
            series = [each[name] for each in self._sizes]
            half = len(series) // 2
            before, after = max(series[:half], default=0.0), max(series[half:])
            # A size that is bounded has no more than some free space in the second half.
            wrong = "MiB" in name and not self._site.is_fast and after > 1.25 * before + 1.0
            lines.append(Line(name, quarters(series), wrong))
        return lines


def more(counts: Sequence[int]) -> int:
    half = len(counts) // 2
    return max(counts[half:], default=0) - max(counts[:half], default=0)


def growth(sizes: Sequence[float]) -> float:
    """Return how much it grew from the end of the first quarter on."""
    warm = sizes[len(sizes) // 4 :]
    return max(warm[-1] - warm[0], 0.0)


def quarters(series: Sequence[float]) -> str:
    """Return the largest figure of each quarter."""
    size = -(-len(series) // 4) or 1
    parts = [series[start : start + size] for start in range(0, len(series), size)]
    return ", ".join(f"{max(part):.1f}" for part in parts)


def mebibytes(pid: int) -> float | None:
    """Return the memory of a process without that of files.

    Pages count that it shares with the process that forked it. They become its own when somebody
    writes into them, and it has not grown by that.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    (anonymous,) = [line for line in text.splitlines() if line.startswith("Anonymous:")]
    return int(anonymous.split()[1]) / 1024


def sizes(site: Site) -> dict[str, float]:
    """Return the sizes of the jobs' rows and indexes, and the share of dead rows."""
    from django.db import connection

    with connection.cursor() as cursor:
        if site.kind == "sqlite":
            cursor.execute("PRAGMA page_count")
            pages = cursor.fetchone()[0]
            cursor.execute("PRAGMA freelist_count")
            return {"file without the trail's growth, pages": pages - cursor.fetchone()[0]}
        if site.kind == "mysql":
            cursor.execute(
                "SELECT data_length, index_length, table_rows FROM information_schema.tables "
                "WHERE table_schema = database() AND table_name = 'django_jobs_job'"
            )
            data, indexes, rows = cursor.fetchone()
            return {"jobs": rows, "jobs, MiB": data / 2**20, "indexes, MiB": indexes / 2**20}
        return postgresql_sizes(cursor)


def postgresql_sizes(cursor: Any) -> dict[str, float]:
    cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'pgstattuple'")
    if not cursor.fetchone()[0]:
        cursor.execute(
            "SELECT n_live_tup, n_dead_tup, pg_relation_size(relid), pg_indexes_size(relid) "
            "FROM pg_stat_user_tables WHERE relname = 'django_jobs_job'"
        )
        live, dead, table, indexes = cursor.fetchone()
        return {"live": live, "dead": dead, "jobs, MiB": table / 2**20,
                "indexes, MiB": indexes / 2**20}  # fmt: skip
    cursor.execute("CREATE EXTENSION IF NOT EXISTS pgstattuple")
    cursor.execute(
        "SELECT tuple_count, dead_tuple_count, table_len, dead_tuple_percent, free_percent, "
        "pg_indexes_size('django_jobs_job') FROM pgstattuple('django_jobs_job')"
    )
    live, dead, table, dead_share, free_share, indexes = cursor.fetchone()
    cursor.execute(
        "SELECT min(avg_leaf_density) FROM (SELECT (pgstatindex(indexrelid)).avg_leaf_density "
        "FROM pg_index WHERE indrelid = 'django_jobs_job'::regclass) AS each "
        "WHERE avg_leaf_density > 0"
    )
    density = cursor.fetchone()[0] or 0.0
    return {
        "jobs": live, "dead rows": dead, "dead rows, %": dead_share, "free in the table, %":
        free_share, "jobs, MiB": table / 2**20, "indexes, MiB": indexes / 2**20,
        "emptiest index, % filled": density,
    }  # fmt: skip
