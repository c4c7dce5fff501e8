"""Tables for people and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.core.management.base import OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder

from ...failure import printable as printable


def one_line(text: object) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def write_json(out: OutputWrapper, value: Any) -> None:
    out.write(json.dumps(value, indent=2, cls=DjangoJSONEncoder))


def write_table(
    out: OutputWrapper, titles: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Print *rows* in columns as wide as their widest cell."""
    lines = [list(titles), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        out.write("  ".join(cells).rstrip())


def served(queues: Sequence[str], excluded: Sequence[str]) -> str:
    """Return in words which queues a worker serves."""
    text = ", ".join(map(str, queues)) or "all queues"
    return text + (f" but {', '.join(map(str, excluded))}" if excluded else "")


def write_fields(out: OutputWrapper, fields: Sequence[tuple[str, object]]) -> None:
    """Print names and values below each other; a value of several lines is indented."""
    width = max(len(name) for name, _value in fields) + 2
    for name, value in fields:
        text = printable(value).replace("\n", "\n" + " " * width)
        out.write(f"{name.ljust(width)}{text}".rstrip())
