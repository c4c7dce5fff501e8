"""The graph of a workflow as SVG: a box per job, a line per dependency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from uuid import UUID

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..status import Status
from ..workflows.graph import Node
from .badges import ICONS

#: The most jobs that are drawn.
MOST_DRAWN = 60

_WIDTH, _HEIGHT = 170, 28
_STEP_X, _STEP_Y = 220, 38
_LETTERS = 18


def graph(nodes: Sequence[Node], current: UUID, page: Callable[[UUID], str]) -> SafeString:
    """Return an SVG of *nodes*, parents on the left; each box links to its job's *page*."""
    rows: Counter[int] = Counter()
    corners: dict[UUID, tuple[int, int]] = {}
    for node in nodes:
        corners[node.id] = (node.depth * _STEP_X + 1, rows[node.depth] * _STEP_Y + 1)
        rows[node.depth] += 1
    lines = format_html_join(
        "\n",
        '<path class="jobs-edge" d="{}"/>',
        ((_curve(corners[parent], corners[node.id]),) for node in nodes for parent in node.parents),
    )
    boxes = format_html_join(
        "\n", "{}", ((_box(node, *corners[node.id], current, page(node.id)),) for node in nodes)
    )
    width = max(rows, default=0) * _STEP_X + _WIDTH + 2
    height = max(rows.values(), default=1) * _STEP_Y
    return format_html(
        '<svg class="jobs-graph" role="group" aria-label="{}" viewBox="0 0 {} {}" width="{}" '
        'height="{}">\n{}\n{}\n</svg>',
        _("Jobs that depend on each other"), width, height, width, height, lines, boxes,
    )  # fmt: skip


def _box(node: Node, x: int, y: int, current: UUID, url: str) -> SafeString:
    known = Status(node.status) if node.status in Status.values else Status.REVOKED
    short = node.name.rpartition(".")[2]
    text = short if len(short) <= _LETTERS else f"{short[: _LETTERS - 1]}…"
    return format_html(
        '<a href="{}"{}><g class="jobs-node jobs-{}" transform="translate({} {})"><title>{}: {}'
        '</title><rect width="{}" height="{}" rx="4"/><path d="{}" transform="translate(6 6)"/>'
        '<text x="28" y="18">{}</text></g></a>',
        url,
        format_html(' aria-current="{}"', "page") if node.id == current else "",
        known.lower(), x, y, node.name, known.label, _WIDTH, _HEIGHT, ICONS[known], text,
    )  # fmt: skip


def _curve(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
