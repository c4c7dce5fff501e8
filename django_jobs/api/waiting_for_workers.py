"""The reasons why ready jobs are not claimed and why claimed jobs have not begun."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from ..metrics.heads import heads, uuid_of
from ..metrics.waiting import Kind
from ..models import Job, Queue, Worker
from .waiting_reason import WaitingReason

# Most ready jobs in line that are read for all rows of a page together.
_READ = 1_000
# Most rows of live workers, and most claimed jobs of the page's workers.
_WORKERS, _CLAIMED = 2_000, 5_000
# A worker's row has the names of all its job functions, so few are read.
_REGISTRIES = 20


def of_ready(jobs: Sequence[Job], using: str) -> dict[UUID, WaitingReason]:
    """Return why no worker has claimed the *jobs*, which are ready or due."""
    if not jobs:
        return {}
    names = sorted({job.queue for job in jobs})
    rows = Queue.objects.using(using).filter(name__in=names, paused_at__isnull=False)
    paused = {queue.name: queue for queue in rows}
    columns = ("queues", "exclude_queues", "pool", "quiet", "slots", "busy")
    live = list(_live(using).only(*columns)[:_WORKERS])
    places = _places([name for name in names if name not in paused], using)
    serving = {name: [worker for worker in live if worker.serves(name)] for name in names}
    return {
        job.pk: _paused(paused[job.queue])
        if job.queue in paused
        else _of_workers(job, serving[job.queue], places.get(job.pk), places)
        for job in jobs
    }


def _paused(queue: Queue) -> WaitingReason:
    return WaitingReason(Kind.PAUSED, queue.name, by=queue.paused_by, since=queue.paused_at)


def _of_workers(
    job: Job, workers: Sequence[Worker], place: int | None, places: dict[Any, int]
) -> WaitingReason:
    if not workers:
        return WaitingReason(Kind.NO_WORKER, job.queue)
    awake = [worker for worker in workers if not worker.quiet]
    if not awake:
        return WaitingReason(Kind.QUIET, job.queue)
    return WaitingReason(
        Kind.QUEUED if job.fair_key is None else Kind.FAIR_TURN,
        job.queue,
        position=places.get(job.queue, 0) if place is None else place,
        is_capped=place is None,
        slots=sum(worker.slots for worker in awake),
        busy=sum(worker.busy for worker in awake),
    )


def _places(queues: Sequence[str], using: str) -> dict[Any, int]:
    """Return the places of the first ready jobs of *queues*, and how many were read of each."""
    ready: Any = Job.objects.using(using)
    line = ready.ready().order_by("rank", "pk").values("pk")
    found = Counter[Any]()
    for name, job_id in heads(line, "queue", queues, max(10, _READ // max(1, len(queues))), using):
        found[uuid_of(job_id)] = found[name]
        found[name] += 1
    return dict(found)


def of_claimed(jobs: Sequence[Job], using: str) -> dict[UUID, WaitingReason]:
    """Return the reasons of claimed jobs that have not begun: their workers are full.

    A worker starts jobs in the order of its claims. So the first of its STARTED rows, as many as it
    has slots, are running.
    """
    ids = {job.worker_id for job in jobs if job.worker_id}
    if not ids:
        return {}
    rows = Worker.objects.using(using).filter(pk__in=ids)
    workers: dict[UUID | None, Worker] = {
        worker.pk: worker for worker in rows.only("name", "slots")
    }
    running: Any = Job.objects.using(using)
    claimed = running.running().filter(worker_id__in=workers)
    claimed = claimed.order_by("worker_id", "started_at", "rank", "pk")
    places = Counter[Any]()
    numbers = {}
    for job_id, worker_id in claimed.values_list("pk", "worker_id")[:_CLAIMED]:
        numbers[job_id] = places[worker_id]
        places[worker_id] += 1
    found = {}
    for job in jobs:
        worker = workers.get(job.worker_id)
        if worker is not None and numbers.get(job.pk, 0) >= worker.slots:
            position = numbers[job.pk] - worker.slots
            found[job.pk] = WaitingReason(
                Kind.PREFETCHED, job.queue, by=worker.name, worker_id=worker.pk, position=position
            )
    return found


def unknown_to_all(names: Iterable[str], using: str) -> Collection[str]:
    """Return the *names* of job functions that none of the newest live workers knows."""
    wanted = set(names)
    if not wanted:
        return ()
    details = _live(using).order_by("-pk")
    known = details.values_list("details", flat=True)[:_REGISTRIES]
    return wanted - {name for each in known for name in dict(each or {}).get("registered", ())}


def _live(using: str) -> Any:
    workers: Any = Worker.objects.using(using)
    return workers.live().executing()
