"""The parents and children of a job in its workflow."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from ..models import Edge, Job
from ..status import Status


def parents_of(job: Job) -> list[UUID]:
    """Return the ids of the jobs that *job* runs after, or of the one that enqueued it."""
    if job._state.adding:  # it ran in this process and has no row
        return []
    edges = Edge.objects.using(job._state.db).filter(child_id=job.pk)
    found = list(edges.order_by("position", "parent_id").values_list("position", "parent_id"))
    # A replaced job keeps the edges of its former parents, with a position below zero.
    ids = [each for position, each in found if position >= 0] or [each for _p, each in found]
    if not ids and job.parent_id is not None:
        ids = [job.parent_id]
    return ids


def children_of(job: Job) -> list[tuple[UUID, str]]:
    """Return id and name of the jobs that depend on *job* or that it enqueued, oldest first."""
    if job._state.adding:
        return []
    using = job._state.db
    children = Edge.objects.using(using).filter(parent_id=job.pk).values("child_id")
    enqueued = Q(root_id=job.root_id or job.pk, parent_id=job.pk)
    rows = Job.objects.using(using).filter(Q(id__in=children) | enqueued).order_by("id")
    return list(rows.values_list("id", "name"))


def before(job: Job, most: int) -> tuple[list[Job], int]:
    """Return up to *most* of the jobs that *job* runs after, and how many there are."""
    return _around(job, most, child_id=job.pk)


def after(job: Job, most: int) -> tuple[list[Job], int]:
    """Return up to *most* of the jobs that depend on *job*, and how many there are."""
    return _around(job, most, parent_id=job.pk) if job.has_dependents else ([], 0)


def _around(job: Job, most: int, **side: Any) -> tuple[list[Job], int]:
    using = job._state.db or ""
    edges = Edge.objects.using(using).filter(**side)
    other = "parent_id" if "child_id" in side else "child_id"
    ids = list(edges.order_by("position", other).values_list(other, flat=True))
    rows = Job.objects.using(using).filter(pk__in=ids[:most]).only("name", "status").order_by("pk")
    return (list(rows) if ids else []), len(ids)


def is_needed(using: str) -> Q:
    """Return the condition of ended jobs whose results another job may still take.

    The other job has not ended, or it failed and an operator may retry it.
    """
    takers = (
        Job.objects.using(using)
        .filter(edges_in__parent_id=OuterRef("pk"))
        .exclude(status__in=[Status.SUCCESS, Status.REVOKED])
    )
    return Q(Exists(takers), has_dependents=True)
