"""The boxes of a workflow's graph: equal jobs share one, however many there are."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from ..status import Status
from ..workflows.graph import Node

#: The most boxes that are drawn.
MOST_BOXES = 60
# From this many on, equal jobs share a box. At most this many root causes have their own.
_FEWEST, _MOST_CAUSES = 4, 10
# A box has the colour of the first of these statuses that one of its jobs has.
_ORDER = (
    Status.FAILURE, Status.STARTED, Status.RETRY, Status.PENDING, Status.SCHEDULED, Status.WAITING,
    Status.REVOKED, Status.SUCCESS,
)  # fmt: skip

Key = tuple[object, ...]


@dataclasses.dataclass(slots=True)
class Box:
    """One job, or several equal ones: with the same name, after the same boxes."""

    nodes: list[Node]
    #: The numbers of the boxes before it.
    parents: set[Key] = dataclasses.field(default_factory=set)
    is_current: bool = False

    @property
    def first(self) -> Node:
        """The job that it links to: the first one that failed, if one did."""
        return min(self.nodes, key=lambda node: _ORDER.index(known(node.status)))

    @property
    def status(self) -> Status:
        return known(self.first.status)

    @property
    def is_cause(self) -> bool:
        return any(node.is_cause for node in self.nodes)

    @property
    def did_not_run(self) -> bool:
        return all(node.did_not_run for node in self.nodes)

    @property
    def counts(self) -> Counter[Status]:
        return Counter(known(node.status) for node in self.nodes)


def known(status: str) -> Status:
    return Status(status) if status in Status.values else Status.REVOKED


def boxes_of(nodes: Sequence[Node], current: UUID) -> dict[Key, Box]:
    """Return the boxes to draw, parents first: always that of *current*, of failures and of ends.

    Jobs on their own are the current one, the first root causes, and those that few are equal to.
    """
    causes = {node.id for node in [node for node in nodes if node.is_cause][:_MOST_CAUSES]}
    alone = causes | {current}
    keys: dict[UUID, Key] = {}
    boxes: dict[Key, Box] = {}
    for depth in sorted({node.depth for node in nodes}):
        level = [node for node in nodes if node.depth == depth]
        equal = {node.id: (node.name, depth, _before(node, keys)) for node in level}
        numbers = Counter(equal[node.id] for node in level if node.id not in alone)
        for node in level:
            key: Key = equal[node.id]
            if node.id in alone or numbers[equal[node.id]] < _FEWEST:
                key = (node.id,)
            keys[node.id] = key
            box = boxes.setdefault(key, Box([], set(_before(node, keys))))
            box.nodes.append(node)
            box.is_current = box.is_current or node.id == current
    return _fewer(boxes)


def _before(node: Node, keys: dict[UUID, Key]) -> frozenset[Key]:
    return frozenset(keys[parent] for parent in node.parents if parent in keys)


def _fewer(boxes: dict[Key, Box]) -> dict[Key, Box]:
    """Leave out boxes if there are too many, but none that says where a workflow broke or ends."""
    inner = {parent for box in boxes.values() for parent in box.parents}

    def rank(key: Key) -> int:
        box = boxes[key]
        if box.is_current:
            return 0
        if box.is_cause:
            return 1
        return 2 if key not in inner else 3

    chosen = set(sorted(boxes, key=rank)[:MOST_BOXES])
    return {key: box for key, box in boxes.items() if key in chosen}
