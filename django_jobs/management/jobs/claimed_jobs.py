"""Which claimed jobs are running, and which wait in their workers."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

from ...models import Job, Worker

#: Ids of jobs, each with its worker's id.
Held = list[tuple[UUID, UUID | None]]


def held(using: str, workers: Any = None) -> tuple[Held, Held]:
    """Return the running jobs, and the claimed jobs that have not started.

    A worker starts jobs in the order of its claims. So the first of its STARTED rows, as many as it
    has slots, are running. A job whose end is not recorded yet, for up to 10 ms, counts as running.
    """
    slots = dict(
        (Worker.objects.using(using) if workers is None else workers).values_list("pk", "slots")
    )
    rows: Any = Job.objects.using(using).running()
    claimed = rows.order_by("started_at", "rank", "pk").values_list("pk", "worker_id")
    started: dict[UUID | None, int] = defaultdict(int)
    running: Held = []
    reserved: Held = []
    for pk, worker_id in claimed:
        if workers is not None and worker_id not in slots:
            continue
        started[worker_id] += 1
        # A worker without a row is gone, and its jobs are about to be rescued.
        within = started[worker_id] <= slots.get(worker_id, started[worker_id])
        (running if within else reserved).append((pk, worker_id))
    return running, reserved
