"""Selects jobs by their ids or by common properties, and workers by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from ...metrics.capped_count import of_status
from ...models import Job, JobQuerySet, Worker
from ...suggest import did_you_mean
from .output import one_line

# Ids per query.
CHUNK = 500


def matching(
    using: str, *, status: str | None = None, name: str | None = None, queue: str | None = None
) -> JobQuerySet:
    """Return the jobs that have this status, this name and this queue; None matches all."""
    jobs: Any = Job.objects.using(using).all()
    if status is not None:
        jobs = of_status(jobs, status)
    if name is not None:
        jobs = jobs.filter(name=name)
    if queue is not None:
        jobs = jobs.filter(queue=queue)
    selected: JobQuerySet = jobs
    return selected


def with_header(jobs: JobQuerySet, header: str) -> list[UUID]:
    """Return the ids of the *jobs* with that header, given as ``NAME=VALUE``."""
    name, equals, value = header.partition("=")
    if not equals or not name:
        raise CommandError(f"--header must be NAME=VALUE, got {header!r}.")
    rows = jobs.exclude(headers=None).values_list("pk", "headers")
    return [
        pk
        for pk, headers in rows.iterator(chunk_size=CHUNK)
        if isinstance(headers, dict) and name in headers and str(headers[name]) == value
    ]


def one(text: str, using: str) -> Job:
    """Return the job with this id; raise ``CommandError`` when there is none."""
    jobs = Job.objects.using(using).defer("args", "kwargs", "headers", "result", "progress")
    job = jobs.filter(pk=_parsed(text)).first()
    if job is None:
        raise CommandError(_no_job(text))
    return job


def given(texts: Sequence[str], using: str) -> list[UUID]:
    """Return the ids; raise ``CommandError`` for the first that is invalid or unknown."""
    ids = [_parsed(text) for text in texts]
    known: set[UUID] = set()
    for chunk in chunks(ids):
        known.update(Job.objects.using(using).filter(pk__in=chunk).values_list("pk", flat=True))
    for job_id in ids:
        if job_id not in known:
            raise CommandError(_no_job(job_id))
    return list(dict.fromkeys(ids))


def chunks(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def _parsed(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(f"A job's id must be a UUID, got {text!r}.") from None


def _no_job(job_id: object) -> str:
    return f"No job has the id {job_id}. It never existed, or it was deleted or pruned."


def live_workers(using: str, names: Sequence[str], serving: str | None = None) -> list[Worker]:
    """Return the live workers that run jobs, filtered by *names* and by the queue *serving*.

    A name is that of a worker (``host-2``), of its ``runworker`` (``host``), or an id. Raises
    ``CommandError`` for a name without a live worker.
    """
    live: Any = Worker.objects.using(using)
    workers = list(live.live().executing().order_by("name", "pk"))
    chosen = workers
    if names:
        chosen = []
        for name in names:
            found = [worker for worker in workers if _is_named(worker, name)]
            if not found:
                live_ones = one_line(", ".join(worker.name for worker in workers[:20])) or "none"
                hint = did_you_mean(name, {worker.name for worker in workers})
                raise CommandError(
                    f"No live worker is named {name!r}. The live workers are: {live_ones}.{hint}"
                )
            chosen += [worker for worker in found if worker not in chosen]
    return [worker for worker in chosen if serving is None or worker.serves(serving)]


def _is_named(worker: Worker, name: str) -> bool:
    base, _dash, number = worker.name.rpartition("-")
    return name in (worker.name, str(worker.pk)) or (name == base and number.isdigit())
