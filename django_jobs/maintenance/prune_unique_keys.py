"""Deletes unique keys of jobs that a person deleted. Pruning a job deletes its key."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from ..models import Job, UniqueKey

#: One run looks at most at this many keys; the next run continues after them.
BATCH = 1_000

_last: dict[str, str] = {}


def run_once(using: str) -> int:
    """Look at one batch of keys; return how many were deleted."""
    batch = UniqueKey.objects.using(using).filter(key__gt=_last.get(using, "")).order_by("key")
    held = dict(batch.values_list("key", "job_id")[:BATCH])
    _last[using] = max(held) if len(held) == BATCH else ""
    # A key and its job are written in one transaction, so a visible key has a visible job.
    jobs = Job.objects.using(using).filter(id__in=list(held.values()))
    there = set(jobs.values_list("id", flat=True))
    gone = {key: job_id for key, job_id in held.items() if job_id not in there}
    forget(list(gone), list(gone.values()), using)
    return len(gone)


def forget(keys: Collection[str], ids: Collection[UUID], using: str) -> None:
    """Delete the *keys* that jobs with these *ids* hold."""
    if keys:
        UniqueKey.objects.using(using).filter(key__in=keys, job_id__in=ids)._raw_delete(using)
