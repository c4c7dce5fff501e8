"""Says why a job has not ended yet."""

from __future__ import annotations

import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from ..define import key_values
from ..models import EventWait, Job, Queue, Worker
from ..status import ENDED, TIMED, Status


def why_open(job_id: UUID, using: str) -> str:
    """Return a job's status and what it waits for: "It is PENDING: no live worker …"."""
    rows = Job.objects.using(using).defer("args", "kwargs", "headers", "result", "progress")
    job = rows.filter(pk=job_id).first()
    if job is None:
        return "Its row was deleted."
    if job.status in ENDED:
        return f"It is {job.status} since a moment ago."
    return f"It is {job.status}: {_reason(job, using)}."


def _reason(job: Job, using: str) -> str:
    left = _seconds_until(job.run_at)
    if job.status == Status.STARTED:
        return _by_whom(job, using)
    if job.status == Status.WAITING:
        return _for_what(job, using)
    if job.is_deferred:
        return job.error_message.rstrip(".")
    if job.status in TIMED and left > 0:
        again = f" again, as it failed with {job.error_class}" if job.status == Status.RETRY else ""
        return f"it is to run{again} in {left:.0f} s"
    return _of_queue(job.queue, using)


def _by_whom(job: Job, using: str) -> str:
    workers: Any = Worker.objects.using(using)
    worker = workers.filter(pk=job.worker_id).only("name").first()
    name = f"worker {worker.name}" if worker else "a worker whose row is gone"
    return f"{name} has run it for {-_seconds_until(job.started_at):.0f} s"


def _for_what(job: Job, using: str) -> str:
    if job.pending_parents > 0:
        return f"jobs that it depends on have not ended ({job.pending_parents})"
    wait = EventWait.objects.using(using).filter(job=job).first()
    if wait is not None:
        what = f"the event {wait.name!r}" if wait.name else "the decision of a person"
        until = f" until {wait.until}" if wait.until else ""
        return f"its step {wait.key!r} waits for {what}{until}"
    limited = (
        "its queue" if job.waiting_for == key_values.of_queue(job.queue) else "its job function"
    )
    return f"the limit of {limited} is reached ({job.waiting_for})"


def _of_queue(queue: str, using: str) -> str:
    if Queue.objects.using(using).filter(name=queue).exclude(paused_at=None).exists():
        return f"queue {queue!r} is paused"
    live: Any = Worker.objects.using(using)
    workers = [worker for worker in live.live() if worker.serves(queue)]
    if not workers:
        return f"no live worker serves queue {queue!r}"
    if all(worker.quiet for worker in workers):
        return f"the workers of queue {queue!r} are quiet"
    slots, busy = (sum(getattr(each, name) for each in workers) for name in ("slots", "busy"))
    return f"no worker has claimed it yet, {busy} of {slots} slots of queue {queue!r} are busy"


def _seconds_until(moment: datetime.datetime | None) -> float:
    return 0.0 if moment is None else (moment - timezone.now()).total_seconds()
