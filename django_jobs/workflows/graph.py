"""A workflow as nodes and edges, for printing and drawing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Count, Q

from ..models import Edge, Job
from ..models.job import JobQuerySet
from ..status import ENDED, Status

#: Most jobs of one workflow that are shown.
MOST_NODES = 1_000
# Ids in one query.
_CHUNK = 500


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


@dataclasses.dataclass(frozen=True, slots=True)
class Workflow:
    """The jobs with one root, parents before their children, and how many have each status.

    ``counts`` has all of them, ``nodes`` the oldest 1,000.
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
    columns = ("id", "name", "status", "group_id", "parent_id")
    found = list(rows.order_by("id").values_list(*columns)[:most])
    into = _into([row[0] for row in found], using)
    known = {row[0] for row in found}
    nodes = []
    for job_id, name, status, group_id, parent_id in found:
        parents = into.get(job_id) or ([parent_id] if parent_id else [])
        kept = tuple(parent for parent in parents if parent in known)
        nodes.append(Node(job_id, name, status, group_id, kept))
    return Workflow(_sorted(nodes), dict(counted))


def _into(ids: Sequence[UUID], using: str) -> dict[UUID, list[UUID]]:
    found: dict[UUID, list[UUID]] = {}
    for start in range(0, len(ids), _CHUNK):
        edges = Edge.objects.using(using).filter(child_id__in=ids[start : start + _CHUNK])
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
