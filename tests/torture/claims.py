"""T1: eight processes claim many short jobs: none twice, none lost, no error."""

from __future__ import annotations

from tests.torture import jobs
from tests.torture.checker import Evidence, Line, bad, judge
from tests.torture.site import Site


def play(site: Site) -> list[Line]:
    number = site.pick(4_000, 100_000)
    for start in range(0, number, 1_000):
        site.enqueue_many(jobs.quick, ((n,) for n in range(start, start + 1_000)))
    for _ in range(2):
        site.runworker("-c", "4", "-l", "WARNING")
    site.wait_for_the_end(1200)
    codes = site.stop_workers()
    logs = [worker.log for worker in site.runworkers]
    lines = judge(Evidence(site.ledger), codes=codes, logs=logs)
    texts = [line for log in logs for line in log.read_text().splitlines()]
    said = [line for line in texts if " WARNING " in line or " ERROR " in line]
    return [*lines, bad("lines of WARNING and above", said)]
