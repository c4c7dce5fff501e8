"""T3: TERM, INT, QUIT, TERM five times, TERM and then KILL, at random moments under load.

After a stop nothing may be STARTED, and the exit code is 0; after KILL the next one takes over.
"""

from __future__ import annotations

import os
import signal
import time

from tests.torture import jobs
from tests.torture.checker import Evidence, Line, bad, judge
from tests.torture.site import Runworker, Site

#: What is sent, and the exit codes that are right.
SCRIPTS: dict[str, tuple[list[int], set[int]]] = {
    "TERM": ([signal.SIGTERM], {0}),
    "INT": ([signal.SIGINT], {0}),
    "QUIT": ([signal.SIGQUIT], {0}),
    "TERM, QUIT": ([signal.SIGTERM, signal.SIGQUIT], {0}),
    "TERM five times": ([signal.SIGTERM] * 5, {0}),
    "KILL": ([signal.SIGKILL], {-signal.SIGKILL}),
}

ARGUMENTS = {
    "prefork": ["-c", "2"],
    "threads": ["-c", "2", "-X", "prefork"],
    "solo": ["-X", "prefork"],
}


def play(site: Site) -> list[Line]:
    site.settings(LEASE_SECONDS=3, HEARTBEAT_SECONDS=0.75)
    rounds = site.pick(1, 12)
    site.keep_enqueuing(60, [(jobs.quick, 1), (jobs.work, 0.05), (jobs.work, 0.3), (jobs.effect,)])
    pools = sorted(ARGUMENTS)
    wrong, stranded = [], []
    for turn in range(rounds):
        for script in site.chance.sample(sorted(SCRIPTS), site.pick(3, len(SCRIPTS))):
            numbers, right = SCRIPTS[script]
            pool = pools[turn % 3] if rounds > 1 else site.chance.choice(pools)
            arguments = ["-P", pool, *ARGUMENTS[pool], "-l", "WARNING"]
            worker = site.runworker(*arguments)
            site.until(worker_is_ready(worker), f"{pool} runs jobs")
            time.sleep(site.chance.random() * 0.5)
            code = send(site, worker, numbers)
            what = f"{script} to {pool}"
            if code not in right:
                wrong.append(f"{what} ended with {code}")
            elif code == 0 and (left := started(worker)):
                stranded.append(f"{left} after {what}")
    site.stop_enqueuing()
    # More is enqueued than the stopped workers could run.
    site.runworker("-c", "12", "-l", "WARNING")
    site.wait_for_the_end()
    codes = site.stop_workers()
    evidence = Evidence(site.ledger, zombies=[worker.pid for worker in site.runworkers])
    # A cold stop ends bodies, whose jobs run again: their processes were ended by a signal.
    evidence.zombies |= {pid for story in evidence.stories.values() for _t, pid in story.starts}
    lines = judge(evidence, codes=codes, logs=site.folder.glob("runworker-*.log"))
    return [*lines, bad("I10 wrong exits", wrong), bad("I10 STARTED after a stop", stranded)]


def worker_is_ready(worker: Runworker):  # type: ignore[no-untyped-def]
    from django_jobs.models import Job, Worker

    def ready() -> bool:
        if worker.process.poll() is not None:
            raise TimeoutError(f"it ended with {worker.process.returncode}")
        pids = {worker.pid, *worker.children()}
        mine = Worker.objects.filter(pid__in=pids, stopped_at=None).values_list("id", flat=True)
        return Job.objects.filter(worker_id__in=list(mine)).exists()

    return ready


def started(worker: Runworker) -> int:
    """Count the jobs that are STARTED though no worker is left."""
    from django_jobs.models import Job, Worker

    stopped = Worker.objects.filter(stopped_at__isnull=False).values_list("id", flat=True)
    return Job.objects.filter(status="STARTED", worker_id__in=list(stopped)).count()


def send(site: Site, worker: Runworker, numbers: list[int]) -> int:
    if numbers == [signal.SIGKILL]:
        worker.kill()
        return worker.process.returncode
    for number in numbers:
        if worker.process.poll() is None:
            os.kill(worker.pid, number)
        time.sleep(site.chance.random() * 0.05)
    return worker.process.wait(60)
