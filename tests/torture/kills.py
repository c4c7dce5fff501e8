"""T2: all kinds of jobs, processes killed at random, the database crashed twice."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from tests.torture import jobs, ledger
from tests.torture.checker import Evidence, Line, bad, judge
from tests.torture.site import LONG, Fault, Site

LEASE = 4.0


def play(site: Site) -> list[Line]:
    site.settings(LEASE_SECONDS=LEASE, HEARTBEAT_SECONDS=1)
    seconds = site.pick(9, 280)
    site.schedule(lambda: faults(site, seconds))
    for _ in range(2):
        site.runworker("-c", "2", "-l", "WARNING")
    site.wait_for_workers(4)
    site.keep_enqueuing(site.pick(60, 100), MIX)
    more = More(site, site.pick(0, 76_000), seconds)
    doubles: set[Any] = set()
    site.follow(
        {
            "worker": site.kill_worker,
            "runworker": site.kill_runworker,
            "database": site.crash_database,
        },
        meanwhile=lambda: (doubles.update(live_copies()), more.enqueue()),
    )
    site.stop_enqueuing()
    site.wait_for_the_end(site.pick(LONG, 900))
    return verdict(site, site.stop_workers(), doubles)


def verdict(
    site: Site, codes: Sequence[int], doubles: Collection[Any] = (), **given: Any
) -> list[Line]:
    """Judge a run of :data:`MIX`."""
    from django_jobs.models import Step

    logs = site.folder.glob("runworker-*.log")
    evidence = Evidence(site.ledger, site.zombies)
    lines = judge(evidence, codes=codes, logs=logs, **given)
    wanted = [job for job, row in evidence.rows.items() if row[4].endswith(".stepwise")]
    ended = [job for job in wanted if evidence.rows[job][1] == "SUCCESS"]
    steps = Step.objects.filter(job_id__in=ended).count()
    often = [
        job
        for job, row in evidence.rows.items()
        if row[4].endswith(".at_most_once") and len(evidence.stories[job].starts) > 1
    ]
    # A body that has no database fails by its own error: see docs/reliability.rst.
    allowed = {"", "WorkerLost"} | ({"OperationalError"} if evidence.crashes else set())
    reasons = {job: row[5].rpartition(".")[2] for job, row in evidence.rows.items()}
    odd = [f"{job} {reason}" for job, reason in reasons.items() if reason not in allowed]
    return [
        *lines,
        bad("acks_late=False, ran twice", often),
        bad("I11 live copies of a unique job", doubles),
        Line("steps", f"{steps} of {3 * len(ended)}", steps != 3 * len(ended)),
        bad("failures without a cause", odd),
    ]


class More:
    """Enqueues *number* short jobs in bulk, spread over the *seconds* of a run."""

    def __init__(self, site: Site, number: int, seconds: float) -> None:
        self._site, self._number, self._seconds = site, number, seconds
        self._done = 0

    def enqueue(self) -> None:
        from django.db import Error, connection

        share = min(1.0, (time.monotonic() - self._site.began) / self._seconds)
        due = int(self._number * share) - self._done
        if due < 100:
            return
        self._done += due
        try:
            self._site.enqueue_many(jobs.quick, [(1,)] * due)
        except Error:
            ledger.write("unsure")
            connection.close()


#: What is enqueued; a function chooses an argument.
MIX: list[tuple[Any, ...]] = [
    (jobs.quick, 1),
    (jobs.work, 0.1),
    (jobs.work, 0.1),
    (jobs.work, 0.2),
    (jobs.flaky, 2),
    (jobs.effect,),
    (jobs.effect,),
    (jobs.at_most_once,),
    (jobs.exclusive, lambda chance: chance.randrange(4)),
    (jobs.unique, lambda chance: chance.randrange(4)),
    (jobs.stepwise, 1),
]


def faults(site: Site, seconds: float) -> list[Fault]:
    chance = site.chance
    found = []
    at = 1.0
    while at < seconds:
        kind = "runworker" if chance.random() < 0.15 else "worker"
        found.append(Fault(at, kind, chance.randrange(100)))
        at += site.pick(0.7, 2.0)
    if site.kind != "sqlite":
        found += [Fault(seconds * part, "database") for part in (0.33, 0.66)]
    return found


def live_copies() -> list[str]:
    """Return the unique keys that two live jobs have at this moment."""
    from django.db import DatabaseError, connection
    from django.db.models import Count

    from django_jobs.models import Job

    try:
        live = Job.objects.live().filter(unique_key__isnull=False).values("unique_key")
        return [row["unique_key"] for row in live.annotate(n=Count("id")).filter(n__gt=1)]
    except DatabaseError:
        connection.close()
        return []
