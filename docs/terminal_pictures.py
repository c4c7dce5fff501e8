"""Draws lines of a terminal as SVG: text that stays sharp, and follows light and dark."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from html import escape
from pathlib import Path

COLUMNS = 146
_CHARACTER, _LINE, _MARGIN, _BAR = 8.43, 20, 18, 34
_STYLE = """
text{font:14px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:#1f2328}
.sheet{fill:#f6f8fa;stroke:#d0d7de}.title{fill:#59636e}.good{fill:#116329}.bad{fill:#a40e26}
.busy{fill:#0550ae}.wait{fill:#7d4e00}.head{fill:#59636e}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.sheet{fill:#0d1117;stroke:#30363d}
.title,.head{fill:#9198a1}.good{fill:#56d364}.bad{fill:#ff7b72}.busy{fill:#79c0ff}.wait{fill:#e3b341}}
"""
# Words that get a colour, by the class of their style.
_WORDS = {
    "good": r"\bsuccess\b|\bready name=\S+",
    "bad": r"\bfailure\b|\berror=\S+|[1-9]\d* failed\b|failed [1-9]\d*",
    "busy": r"\brunning [1-9]\d*",
    "wait": r"\bretry\b|\bWARNING\b",
    "head": r"^[A-Z][A-Z ]{4,}$|^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+",
}
_MARKED = re.compile("|".join(f"(?P<{name}>{words})" for name, words in _WORDS.items()))


def write_terminal(path: Path, command: str, lines: Sequence[str]) -> None:
    """Write a window of a terminal in which *command* has printed *lines*."""
    shown = [f"$ {command}", *map(_fitting, lines)]
    width = round(COLUMNS * _CHARACTER + 2 * _MARGIN)
    height = _BAR + len(shown) * _LINE + _MARGIN
    texts = "".join(
        f'<text x="{_MARGIN}" y="{_BAR + (number + 1) * _LINE - 5}">{_coloured(line)}</text>'
        for number, line in enumerate(shown)
        if line
    )
    dots = "".join(
        f'<circle cx="{_MARGIN + 4 + 20 * number}" cy="18" r="6" fill="{colour}"/>'
        for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    title = f"<title>{escape(command)}</title>"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img">{title}<style>{_STYLE}</style>'
        f'<rect class="sheet" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>'
        f"{dots}{texts}</svg>\n"
    )


def _fitting(line: str) -> str:
    printable = "".join(each for each in line if unicodedata.category(each) != "Cc")
    return printable if len(printable) <= COLUMNS else f"{printable[: COLUMNS - 1]}…"


def _coloured(line: str) -> str:
    # Spaces at the start and in rows would be taken for one.
    parts, end = [], 0
    for found in _MARKED.finditer(line):
        parts.append(_spaced(line[end : found.start()]))
        parts.append(f'<tspan class="{found.lastgroup}">{_spaced(found.group())}</tspan>')
        end = found.end()
    return "".join([*parts, _spaced(line[end:])])


def _spaced(text: str) -> str:
    return escape(text, quote=False).replace(" ", "\N{NO-BREAK SPACE}")
