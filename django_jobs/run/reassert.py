"""Claims that a crash of the database lost are written again, with the same fencing token.

A claim may commit asynchronously: a crash soon afterwards takes it back, while the worker runs the
job. The row is PENDING then and has one claim less than the worker's number. Without this module
the same worker could claim it anew with that same number, and both attempts would hold one token.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from django.db.models import Exists

from .. import transitions
from ..db import clock
from ..db.chunks import chunks
from ..models import Job, Worker
from ..status import Status


def reassert(worker_id: UUID, held: Collection[tuple[UUID, int]], using: str) -> int:
    """Claim the jobs again whose claims by this worker were lost; return how many.

    *held* has the id and the number of claims of each job that the worker has. A job that another
    worker claimed since stays there. A worker whose lease is over gets no job back.

    Afterwards no row has fewer claims than *held* says, so no later claim repeats a number.
    """
    ids_of: dict[int, list[UUID]] = defaultdict(list)
    for job_id, claims in held:
        ids_of[claims].append(job_id)
    now = clock(using)
    # The lease is judged in the statement itself, by the database's clock.
    live = Exists(
        Worker.objects.using(using).filter(id=worker_id, lost_at=None, lease_until__gt=now)
    )
    reasserted = 0
    for claims, ids in ids_of.items():
        for chunk in chunks(sorted(ids)):
            before = Job.objects.using(using).filter(id__in=chunk, claims=claims - 1)
            reasserted += transitions.reassert(before.filter(live), worker_id, now)
            before.exclude(status=Status.STARTED).update(claims=claims)
    return reasserted
