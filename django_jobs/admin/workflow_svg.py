"""The graph of a workflow as SVG: a box per job or for many equal ones, a line per dependency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from ..status import Status
from ..workflows.graph import Node
from .badges import ICONS
from .workflow_boxes import Box, Key, boxes_of, known

_WIDTH, _HEIGHT, _HIGH = 170, 28, 44
_STEP_X, _GAP = 220, 10
_LETTERS = 18
_SIGNS = {Status.SUCCESS: "✓", Status.FAILURE: "✗", Status.STARTED: "▶"}
# Jobs that did not run are hatched. The pattern is drawn in the colour of their status.
_HATCH = mark_safe(
    '<defs><pattern id="jobs-hatch" width="6" height="6" patternUnits="userSpaceOnUse">'
    '<path class="jobs-hatch-line jobs-failure" d="M0 6L6 0"/></pattern></defs>\n'
)


def graph(nodes: Sequence[Node], current: UUID, page: Callable[[UUID], str]) -> SafeString:
    """Return an SVG of *nodes*, parents on the left; each box links to its job's *page*."""
    boxes = boxes_of(nodes, current)
    feet: defaultdict[int, int] = defaultdict(lambda: 1)
    corners: dict[Key, tuple[int, int]] = {}
    for key, box in boxes.items():
        depth = box.first.depth
        corners[key] = (depth * _STEP_X + 1, feet[depth])
        feet[depth] += _height(box) + _GAP
    lines = format_html_join(
        "\n",
        '<path class="jobs-edge" d="{}"/>',
        (
            (_curve(corners[parent], _height(boxes[parent]), corners[key], _height(box)),)
            for key, box in boxes.items()
            for parent in sorted(box.parents & corners.keys(), key=lambda one: corners[one])
        ),
    )
    drawn = format_html_join(
        "\n", "{}", ((_box(box, *corners[key], page(box.first.id)),) for key, box in boxes.items())
    )
    width = max(feet, default=0) * _STEP_X + _WIDTH + 2
    height = max(feet.values(), default=_HEIGHT)
    hatch = _HATCH if any(box.did_not_run for box in boxes.values()) else mark_safe("")
    return format_html(
        '<svg class="jobs-graph" role="group" aria-label="{}" viewBox="0 0 {} {}" width="{}" '
        'height="{}">\n{}{}\n{}\n</svg>',
        _("Jobs that depend on each other"), width, height, width, height, hatch, lines, drawn,
    )  # fmt: skip


def _height(box: Box) -> int:
    return _HIGH if len(box.nodes) > 1 else _HEIGHT


def _box(box: Box, x: int, y: int, url: str) -> SafeString:
    kinds = [f"jobs-{box.status.lower()}"]
    kinds += ["jobs-cause"] if box.is_cause else []
    overlay = mark_safe("")
    if box.did_not_run:
        overlay = format_html(
            '<rect class="jobs-hatched" width="{}" height="{}" rx="4" fill="url(#jobs-hatch)"/>',
            _WIDTH, _height(box),
        )  # fmt: skip
    return format_html(
        '<a href="{}"{}><g class="jobs-node {}" transform="translate({} {})"><title>{}</title>'
        '<rect class="jobs-box" width="{}" height="{}" rx="4"/>{}<path d="{}" '
        'transform="translate(6 6)"/>{}</g></a>',
        url,
        mark_safe(' aria-current="page"') if box.is_current else "",
        " ".join(kinds), x, y, _title(box), _WIDTH, _height(box), overlay, ICONS[box.status],
        _texts(box),
    )  # fmt: skip


def _texts(box: Box) -> SafeString:
    short = box.first.name.rpartition(".")[2]
    if len(box.nodes) == 1:
        return format_html('<text x="28" y="18">{}</text>', _cut(short, _LETTERS))
    number = number_format(len(box.nodes))
    signs = "  ".join(
        f"{number_format(count)} {_SIGNS.get(status, '…')}"
        for status, count in sorted(box.counts.items(), key=lambda item: -item[1])
    )
    return format_html(
        '<text x="28" y="18">{} × {}</text><text class="jobs-signs" x="28" y="35">{}</text>',
        number, _cut(short, _LETTERS - len(number) - 2), signs,
    )  # fmt: skip


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _title(box: Box) -> str:
    """Return the text of the tooltip, which screen readers read as well."""
    node = box.first
    if len(box.nodes) > 1:
        parts = ", ".join(f"{count} {status.label}" for status, count in box.counts.items())
        return f"{len(box.nodes)} × {node.name}: {parts}"
    text = f"{node.name}: {known(node.status).label}"
    cause, lost = _("root cause"), _("did not run")
    why = cause if node.is_cause else lost if node.did_not_run else ""
    return f"{text}, {why}" if why else text


def _curve(start: tuple[int, int], start_height: int, end: tuple[int, int], height: int) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + start_height // 2
    x2, y2 = end[0], end[1] + height // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
