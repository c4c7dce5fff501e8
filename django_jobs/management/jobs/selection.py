"""Selects jobs by their ids or by common properties, and workers by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from ...models import Job, JobQuerySet, Worker
from ...suggest import did_you_mean
from .output import one_line

# Ids per query.
CHUNK = 500
_PREFIX = re.compile("[0-9a-f]{4,32}")
# Ids of jobs in a message.
_MOST_NAMED = 5


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
    job = jobs.filter(pk=_parsed(text, using)).first()
    if job is None:
        raise CommandError(_no_job(text))
    return job


def given(texts: Sequence[str], using: str) -> list[UUID]:
    """Return the ids; raise ``CommandError`` for the first that is invalid or unknown."""
    ids = [_parsed(text, using) for text in texts]
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


def _parsed(text: str, using: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return _with_prefix(text, using)


def _with_prefix(text: str, using: str) -> UUID:
    """Return the only id that begins with *text*, among those that jobs get by themselves."""
    digits = text.replace("-", "").lower()
    if not _PREFIX.fullmatch(digits):
        raise CommandError(
            f"A job's id must be a UUID, got {text!r}. Its first digits will do, 4 or more of them."
        )
    # The digits of the version and the variant are the same in all of these ids.
    low = digits + "00000000000070008000000000000000"[len(digits) :]
    high = digits + "ffffffffffff7fffbfffffffffffffff"[len(digits) :]
    jobs = Job.objects.using(using).filter(pk__gte=UUID(low), pk__lte=UUID(high)).order_by("pk")
    found = list(jobs.values_list("pk", "name")[: _MOST_NAMED + 1])
    if not found:
        raise CommandError(_no_job(text))
    if len(found) > 1:
        named = one_line(", ".join(f"{pk} ({name})" for pk, name in found[:_MOST_NAMED]))
        more = ", …" if len(found) > _MOST_NAMED else ""
        raise CommandError(f"Several ids begin with {text}: {named}{more}. Give more digits.")
    return found[0][0]


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
        named = _by_name(workers)
        for name in names:
            if name not in named:
                live_ones = one_line(", ".join(worker.name for worker in workers[:20])) or "none"
                hint = did_you_mean(name, {worker.name for worker in workers})
                raise CommandError(
                    f"No live worker is named {name!r}. The live workers are: {live_ones}.{hint}"
                )
        chosen = list(dict.fromkeys(worker for name in names for worker in named[name]))
    return [worker for worker in chosen if serving is None or worker.serves(serving)]


def _by_name(workers: Sequence[Worker]) -> dict[str, list[Worker]]:
    """Return the *workers* of each name that a person may give."""
    found: dict[str, list[Worker]] = {}
    for worker in workers:
        base, _dash, number = worker.name.rpartition("-")
        for name in {worker.name, str(worker.pk), *([base] if number.isdigit() else [])}:
            found.setdefault(name, []).append(worker)
    return found
