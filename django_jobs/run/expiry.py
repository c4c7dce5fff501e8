"""Looks for jobs that expired after their claim."""

from __future__ import annotations

from collections.abc import Sequence

from ..db import clock
from ..models import Job
from ..values import Claimed


def mark_expired(jobs: Sequence[Claimed], using: str) -> None:
    """Mark the claimed jobs that have expired meanwhile, by the database's clock.

    Without a job that can expire it makes no statement.
    """
    ids = [job.id for job in jobs if job.expires_at is not None and not job.expired]
    if not ids:
        return
    rows = Job.objects.using(using).filter(id__in=ids, expires_at__lte=clock(using))
    expired = set(rows.values_list("id", flat=True))
    for job in jobs:
        job.expired = job.expired or job.id in expired
