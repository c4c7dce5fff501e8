"""``jobs workflow``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import groupby
from uuid import UUID

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext as _

from ...display import json_rows
from ...status import Status
from ...workflows.graph import Node, Workflow, workflow_of
from .output import one_line, painter, write_json
from .selection import one

# Jobs of the same function and depth: of more than these, only the numbers are printed.
_MOST_ALIKE = 10
_FAILED = (Status.FAILURE, Status.REVOKED)
# The mark of a branch, and what stands below it.
_ONE, _LAST = ("├─ ", "│  "), ("└─ ", "   ")


def show_workflow(out: OutputWrapper, *, using: str, as_json: bool, job_id: str) -> None:
    """Print the jobs of one job's workflow as a tree, with their statuses and counts."""
    workflow = workflow_of(one(job_id, using))
    numbers = {"done": workflow.done, "total": workflow.total, "failed": workflow.failed}
    if as_json:
        write_json(out, json_rows.workflow(workflow))
        return
    statuses = ", ".join(f"{number} {status}" for status, number in sorted(workflow.counts.items()))
    text = _("%(done)d of %(total)d done, %(failed)d failed: %(statuses)s")
    out.write(one_line(text % {**numbers, "statuses": statuses}))
    for line in _lines(workflow, painter(out)):
        out.write(line)
    if left := workflow.total - len(workflow.nodes):
        out.write(_("… and %d more") % left)


def _lines(workflow: Workflow, paint: Callable[[str], str]) -> Iterator[str]:
    """Yield the tree: each job stands below the parent that it waits longest for."""
    failed = {node.id for node in workflow.nodes if node.status in _FAILED}
    depths = {node.id: node.depth for node in workflow.nodes}
    below: dict[UUID | None, list[Node]] = {}
    for node in workflow.nodes:
        # Rows that somebody edited by hand may form a circle. The jobs of a circle get no depth.
        higher = [parent for parent in node.parents if depths[parent] < node.depth]
        # A job that failed because of another one stands below it.
        last = max(higher, key=lambda one: (depths[one], one in failed), default=None)
        below.setdefault(last, []).append(node)
    left = [(nodes, "", "", "") for nodes in reversed(_entries(below.get(None, ())))]
    while left:
        nodes, margin, knot, stem = left.pop()
        yield f"{margin}{knot}{_text(nodes, failed, paint)}"
        entries = _entries([each for node in nodes for each in below.get(node.id, ())])
        for number, entry in enumerate(reversed(entries)):
            left.append((entry, margin + stem, *(_LAST if number == 0 else _ONE)))


def _entries(nodes: Iterable[Node]) -> list[list[Node]]:
    """Return the lines: each is a job, or many equal ones."""
    groups = [list(found) for _key, found in groupby(_sorted(nodes), key=_alike)]
    return [
        entry
        for group in groups
        for entry in ([group] if len(group) > _MOST_ALIKE else [[node] for node in group])
    ]


def _text(nodes: Sequence[Node], failed: Container[UUID], paint: Callable[[str], str]) -> str:
    node = nodes[0]
    after = "  " + _("after %d") % len(node.parents) if len(node.parents) > 1 else ""
    name = one_line(node.name)
    if len(nodes) > 1:
        return f"{len(nodes)} × {name}: {_counted(nodes)}{after}"
    was_first = node.id in failed and not any(parent in failed for parent in node.parents)
    is_cause = node.is_cause or (was_first and node.status == Status.REVOKED)
    cause = "  " + _("← root cause") if is_cause else ""
    return f"{paint(f'{node.status:<9}')}  {node.id}  {name}{after}{cause}"


def _sorted(nodes: Iterable[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: (node.depth, node.parents, node.name, node.id))


def _alike(node: Node) -> tuple[int, tuple[object, ...], str]:
    return node.depth, node.parents, node.name


def _counted(nodes: Sequence[Node]) -> str:
    counts = Counter(node.status for node in nodes)
    return ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
