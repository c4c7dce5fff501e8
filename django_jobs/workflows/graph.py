"""A workflow as nodes and edges, and the jobs around one job."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Count, Q
from django.db.models.expressions import RawSQL

from ..db.chunks import chunks
from ..db.tables import NEEDED
from ..models import Edge, Job
from ..models.job import JobQuerySet
from ..status import ENDED, Status
from .upstream import UPSTREAM_FAILED

#: Most jobs of one workflow that are shown.
MOST_NODES = 1_000
# One in so many of a larger workflow's nodes is one that failed, or one of the newest.
_FAILED, _NEWEST = 5, 10
# A suspended job waits for jobs that it has started itself: they come after it.
_CHILDREN = Q(kind=Edge.Kind.COMPLETE, position__lt=0)


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A job of a workflow; ``depth`` is the length of the longest path to it."""

    id: UUID
    name: str
    status: str
    group_id: UUID | None
    #: Ids of the jobs that it runs after, or of the job that enqueued it.
    parents: tuple[UUID, ...]
    depth: int = 0
    error_class: str = ""

    @property
    def did_not_run(self) -> bool:
        """True if it failed because a job before it failed."""
        return self.error_class == UPSTREAM_FAILED

    @property
    def is_cause(self) -> bool:
        """True if it failed by itself."""
        return self.status == Status.FAILURE and not self.did_not_run


@dataclasses.dataclass(frozen=True, slots=True)
class Workflow:
    """The jobs with one root, parents before their children, and how many have each status.

    ``counts`` has all of them. Of more than 1,000, ``nodes`` has the oldest, the newest, the first
    that failed, and the job that was asked for.
    """

    nodes: list[Node]
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """How many have ended, one way or another."""
        return sum(number for status, number in self.counts.items() if status in ENDED)

    @property
    def failed(self) -> int:
        """How many ended without success."""
        return self.done - self.counts.get(Status.SUCCESS, 0)

    @property
    def edges(self) -> list[tuple[UUID, UUID]]:
        """Parent and child of each dependency between the nodes."""
        return [(parent, node.id) for node in self.nodes for parent in node.parents]


def workflow_of(job: Job, most: int = MOST_NODES) -> Workflow:
    """Return the workflow of *job*, with also what its jobs enqueued; at most so many nodes."""
    using = job._state.db or ""
    root_id = job.root_id or job.pk
    rows: JobQuerySet = Job.objects.using(using).filter(Q(pk=root_id) | Q(root_id=root_id))
    counted = rows.order_by("status").values_list("status").annotate(Count("pk"))
    columns = ("id", "name", "status", "group_id", "parent_id", "error_class")
    chosen = rows.values_list(*columns)
    found = list(chosen.order_by("id")[:most])
    if len(found) == most:
        own = tuple(getattr(job, name) for name in columns)
        failed = chosen.filter(status=Status.FAILURE).order_by("id")[: most // _FAILED]
        newest = chosen.order_by("-id")[: most // _NEWEST]
        every = {row[0]: row for row in (own, *failed, *newest, *found)}
        found = [every[each] for each in sorted(itertools.islice(every, most))]
    into = _into([row[0] for row in found], using)
    known = {row[0] for row in found}
    nodes = []
    for job_id, name, status, group_id, parent_id, error_class in found:
        parents = into.get(job_id) or ([parent_id] if parent_id else [])
        kept = tuple(parent for parent in parents if parent in known)
        nodes.append(Node(job_id, name, status, group_id, kept, error_class=error_class))
    return Workflow(_sorted(nodes), dict(counted))


def _into(ids: Sequence[UUID], using: str) -> dict[UUID, list[UUID]]:
    found: dict[UUID, list[UUID]] = {}
    for chunk in chunks(ids):
        edges = Edge.objects.using(using).filter(child_id__in=chunk).exclude(_CHILDREN)
        for child, parent in edges.order_by("position").values_list("child_id", "parent_id"):
            found.setdefault(child, []).append(parent)
    return found


def _sorted(nodes: Sequence[Node]) -> list[Node]:
    """Return the *nodes* with their depths, parents first and else by age."""
    depths: dict[UUID, int] = {}
    left = list(nodes)
    while left:
        later = []
        for node in left:
            if all(parent in depths for parent in node.parents):
                depths[node.id] = 1 + max((depths[each] for each in node.parents), default=-1)
            else:
                later.append(node)
        if len(later) == len(left):  # edited by hand into a circle
            depths.update((node.id, 0) for node in later)
            break
        left = later
    placed = [dataclasses.replace(node, depth=depths[node.id]) for node in nodes]
    return sorted(placed, key=lambda node: (node.depth, node.id))


# --- one job ------------------------------------------------------------------------------------


def parents_of(job: Job) -> list[UUID]:
    """Return the ids of the jobs that *job* runs after, or of the one that enqueued it."""
    if job._state.adding:  # it ran in this process and has no row
        return []
    edges = Edge.objects.using(job._state.db).filter(child_id=job.pk).exclude(_CHILDREN)
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


def is_needed() -> RawSQL:
    """Return the condition of ended jobs whose results another job may still take.

    The other job has not ended, or it failed and an operator may retry it.
    """
    return RawSQL(NEEDED, [], output_field=BooleanField())
