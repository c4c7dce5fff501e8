"""T4: workers that are stopped past their lease in the middle of a job, and then go on.

Another host has their jobs by then. Whatever the old ones write must change no row.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from tests.torture import jobs, ledger
from tests.torture.checker import Evidence, Line, judge
from tests.torture.site import Runworker, Site

LEASE = 2.0
THREADS = ("-P", "threads", "-X", "prefork")


def play(site: Site) -> list[Line]:
    from django_jobs.models import Job, Worker

    site.settings(LEASE_SECONDS=LEASE, HEARTBEAT_SECONDS=LEASE / 4)
    least = site.pick(4, 50)
    first, second = (site.runworker(*THREADS, "-c", "8", "-l", "WARNING") for _ in "12")
    site.wait_for_workers(2)
    logs = [first.log, second.log]
    rounds = 0
    while dropped(logs) < least and rounds < site.pick(6, 60):
        rounds += 1
        site.enqueue_many(jobs.work, [(1.0,)] * 16)
        victim = (first, second)[rounds % 2]
        site.until(lambda v=victim: begins_no_more(site, v), "both of them run jobs")
        freeze(site, victim)
        pids = {victim.pid, *site.zombies}
        site.until(
            lambda p=pids: Worker.objects.filter(pid__in=p, lost_at__isnull=False).exists(),
            "the lease of the stopped worker has run out",
        )
        site.until(lambda: not Job.objects.live().exists(), "the other one has run its jobs")
        thaw(victim)
        time.sleep(0.3)
        site.until(lambda v=victim: ready(v), "its processes were replaced")
    site.wait_for_the_end()
    codes = site.stop_workers()
    evidence = Evidence(site.ledger, site.zombies)
    lines = judge(evidence, codes=codes, overlaps_allowed=True, logs=logs)
    count = dropped(logs)
    return [*lines, Line("fenced, at least", f"{count} of {least}", count < least),
            Line("rounds", str(rounds))]  # fmt: skip


def begins_no_more(site: Site, worker: Runworker) -> bool:
    """Tell whether each claimed job of that worker has begun, and no job waits to be claimed.

    A thread that is frozen between the look at the lease and the body begins the body later.
    """
    from django_jobs.models import Job, Worker

    running = Job.objects.live()
    statuses = set(running.values_list("status", flat=True))
    pids = worker.children()
    ours = Worker.objects.filter(pid__in=pids).values("id")
    claimed = running.filter(worker_id__in=ours).values_list("id", flat=True)
    begun = {
        line["id"]
        for line in ledger.read(site.ledger)
        if line["kind"] == "start" and line["pid"] in pids
    }
    return not statuses or (statuses == {"STARTED"} and {*map(str, claimed)} <= begun)


def freeze(site: Site, worker: Runworker) -> None:
    for pid in [worker.pid, *worker.children()]:
        site.zombies.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def thaw(worker: Runworker) -> None:
    # The supervisor last: the others have the time to write before it replaces them.
    for pid in [*worker.children(), worker.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)


def ready(worker: Runworker) -> bool:
    from django_jobs.models import Worker

    return Worker.objects.live().filter(pid__in=worker.children()).exists()


def dropped(logs: list) -> int:  # type: ignore[type-arg]
    return sum(log.read_text().count("outcome dropped") for log in logs)
