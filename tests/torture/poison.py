"""T11: jobs that kill their processes: a segfault, an exit, a recursion, a hold of the GIL, memory.

Each ends as FAILURE with its reason, takes no other job with it, and its slot is back in time.
"""

from __future__ import annotations

from tests.torture import jobs
from tests.torture.checker import Evidence, Line, bad, judge
from tests.torture.site import Site

#: The reason that the row gives.
REASONS = {
    "segfault": "WorkerLost", "leave": "WorkerLost", "out_of_memory": "WorkerLost",
    "spin": "TimeLimitExceeded", "hoard": "MemoryError",
}  # fmt: skip


def play(site: Site) -> list[Line]:
    from django_jobs.models import Job

    # A segmentation fault of this interpreter says so on stderr, which is the worker's log.
    worker = site.runworker("-c", "3", "-l", "WARNING")
    site.wait_for_workers(3)
    site.keep_enqueuing(40, [(jobs.quick, 1), (jobs.work, 0.05)])
    poisons = [jobs.segfault, jobs.leave, jobs.out_of_memory, jobs.spin, jobs.recurse, jobs.hoard]
    for _ in range(site.pick(1, 15)):
        for function in poisons:
            site.enqueue(function)
        names = [function.name for function in poisons]
        poisoned = Job.objects.live().filter(name__in=names)
        site.until(lambda jobs=poisoned: not jobs.all().exists(), "all of the poison has ended")
    site.stop_enqueuing()
    site.wait_for_the_end()
    codes = site.stop_workers()
    evidence = Evidence(site.ledger)
    wrong, harmed, often = [], [], []
    for job_id, row in evidence.rows.items():
        kind, reason = row[4].rpartition(".")[2], row[5].rpartition(".")[2]
        if kind in ("quick", "work"):
            harmed += [job_id] if row[1] != "SUCCESS" else []
        elif kind in REASONS:
            wrong += [f"{kind} {row[1]} {reason}"] if reason != REASONS[kind] else []
            times, most = len(evidence.stories[job_id].starts), 3 if reason == "WorkerLost" else 1
            often += [f"{kind} ran {times} times"] if times > most else []
        elif row[1] != "FAILURE":
            wrong.append(f"{kind} {row[1]}")
    waits = [again - before for before, again in gaps(evidence)]
    lines = judge(evidence, codes=codes, logs=[worker.log])
    return [
        *lines,
        bad("poison with another end", wrong),
        bad("poison that ran too often", often),
        bad("innocent jobs that failed", harmed),
        Line("a crash to the next attempt", f"longest {max(waits, default=0):.2f} s",
             max(waits, default=0.0) > site.pick(20.0, 20.0)),
    ]  # fmt: skip


def gaps(evidence: Evidence) -> list[tuple[float, float]]:
    """Return the times of two attempts of a job that follow each other."""
    return [
        (first[0], second[0])
        for story in evidence.stories.values()
        for first, second in zip(story.starts, story.starts[1:], strict=False)
    ]
