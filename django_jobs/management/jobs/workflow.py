"""``jobs workflow``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext as _

from ...display import json_rows
from ...workflows.graph import Node, Workflow, workflow_of
from .output import one_line, write_json
from .selection import one

# Jobs of the same function and depth: of more than these, only the numbers are printed.
_MOST_ALIKE = 10


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
    for line in _lines(workflow):
        out.write(one_line(line))
    if left := workflow.total - len(workflow.nodes):
        out.write(_("… and %d more") % left)


def _lines(workflow: Workflow) -> Iterator[str]:
    for (depth, parents, name), found in groupby(workflow.nodes, key=_alike):
        nodes = list(found)
        margin = "  " * depth
        after = "  " + _("after %d") % len(parents) if len(parents) > 1 else ""
        if len(nodes) > _MOST_ALIKE:
            yield f"{margin}{len(nodes)} × {name}: {_counted(nodes)}{after}"
        else:
            yield from (f"{margin}{node.status:<9}  {node.id}  {name}{after}" for node in nodes)


def _alike(node: Node) -> tuple[int, tuple[object, ...], str]:
    return node.depth, node.parents, node.name


def _counted(nodes: Sequence[Node]) -> str:
    counts = Counter(node.status for node in nodes)
    return ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
