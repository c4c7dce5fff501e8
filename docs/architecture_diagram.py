"""Draws the packages of django_jobs for the page "Architecture".

The rows, the boxes and the arrows come from the code: ``tests/test_architecture.py`` has the order
of the packages and reads their imports. So the diagram cannot leave a package out. ``conf.py``
draws it for each build; ``python -m docs.architecture_diagram FILE`` draws it into a file.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from tests.test_architecture import IMPORTS, LINES, PACKAGE, SEAMS, top

WIDTH = 740
GAP = 10
BETWEEN_ROWS = 24
# The name and the description of a box that has its row alone stand side by side.
LONE_WIDTH = 640
LONE_NAME = 90
LINE_HEIGHT = 14
# How wide a character of the description is at most, on average.
CHARACTER = 5.5
STYLE = """
.architecture { font-family: inherit; max-width: 100%; height: auto }
.architecture rect { fill: var(--color-background-secondary, #f6f7f9);
  stroke: var(--color-foreground-border, #878787); }
.architecture path { fill: none; stroke: var(--color-brand-primary, #0a4bff); opacity: .7 }
.architecture text { fill: var(--color-foreground-primary, #000); font-size: 11px }
.architecture .name { font-weight: 600; font-size: 13px }
"""


class Box(NamedTuple):
    name: str
    text: list[str]
    alone: bool
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def first_line(name: str) -> str:
    """Return the first line of the docstring of a package, or of a module beside the packages."""
    module = PACKAGE / f"{name}.py"
    path = module if module.exists() else PACKAGE / name / "__init__.py"
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    return doc.partition("\n")[0].replace("``", "")


@cache
def imports_of(name: str) -> frozenset[str]:
    """Return the packages that the package *name* imports."""
    return frozenset(
        top(other)
        for module, others in IMPORTS.items()
        for other in others
        if top(module) == name != top(other) and (module, other) not in SEAMS
    )


@cache
def reached(name: str) -> frozenset[str]:
    """Return the packages that *name* imports, and those that they import, and so on."""
    return imports_of(name).union(*(reached(other) for other in imports_of(name)))


def arrows() -> list[tuple[str, str]]:
    """Return the imports that do not follow from other imports."""
    return [
        (name, other)
        for name in sorted({top(module) for module in IMPORTS})
        for other in sorted(imports_of(name))
        if not any(other in reached(between) for between in imports_of(name))
    ]


def boxes() -> dict[str, Box]:
    found, y = {}, 1.0
    for line in LINES.strip().splitlines():
        names = [name.strip() for name in line.split("|")]
        alone = len(names) == 1
        width = LONE_WIDTH if alone else (WIDTH - 2 - GAP * (len(names) - 1)) / len(names)
        room = int((width - 16 - LONE_NAME * alone) / CHARACTER)
        texts = [wrapped(first_line(name), room) for name in names]
        height = 12 + LINE_HEIGHT * (max(map(len, texts)) + (not alone))
        x = (WIDTH - LONE_WIDTH) / 2 if alone else 1.0
        for name, text in zip(names, texts, strict=True):
            found[name] = Box(name, text, alone, x, y, width, height)
            x += width + GAP
        y += height + BETWEEN_ROWS
    return found


def wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def svg() -> str:
    found = boxes()
    bottom = max(box.y + box.height for box in found.values()) + 1
    head = (
        f'<svg class="architecture" xmlns="http://www.w3.org/2000/svg" role="img"'
        f' width="{WIDTH}" viewBox="0 0 {WIDTH} {bottom:.0f}"'
        ' aria-label="The packages and their imports">'
    )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M1 1 7 4 1 7"/></marker></defs>'
    )
    drawn_arrows = (_arrow(found[name], found[other]) for name, other in arrows())
    parts = [head, f"<style>{STYLE}</style>", tip, *drawn_arrows, *map(_box, found.values())]
    return "\n".join([*parts, "</svg>"])


def _arrow(start: Box, end: Box) -> str:
    # The arrows of one box leave side by side, towards where they go.
    x = start.middle + (end.middle - start.middle) * min(0.4, start.width / 2 / WIDTH)
    goal = end.middle + (start.middle - end.middle) * min(0.4, end.width / 2 / WIDTH)
    y = start.y + start.height
    return (
        f'<path d="M{x:.0f} {y:.0f} C{x:.0f} {y + 18:.0f} {goal:.0f} {end.y - 18:.0f}'
        f' {goal:.0f} {end.y - 1:.0f}" marker-end="url(#tip)">'
        f"<title>{start.name} imports {end.name}</title></path>"
    )


def _box(box: Box) -> str:
    x, y = box.x + 8, box.y + 17
    left, above = (x + LONE_NAME, y) if box.alone else (x, y + LINE_HEIGHT)
    lines = "".join(
        f'<text x="{left:.0f}" y="{above + LINE_HEIGHT * number:.0f}">{escape(line)}</text>'
        for number, line in enumerate(box.text)
    )
    return (
        f'<g><rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}"'
        f' height="{box.height:.0f}" rx="4"/>'
        f'<text class="name" x="{x:.0f}" y="{y:.0f}">{box.name}</text>{lines}</g>'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(svg())
