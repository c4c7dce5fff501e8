"""How statements and their parameters are written for PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

CHANNEL = "django_jobs"
NOW = "statement_timestamp()"
SECOND = "interval '1 second'"


def numbered(sql: str) -> bytes:
    """Return *sql* with ``$1``, ``$2``, … for its marks."""
    first, *others = sql.split("%s")
    marked = "".join(f"${number}{text}" for number, text in enumerate(others, 1))
    return f"{first}{marked}".encode()


def _quoted(text: str) -> str:
    """Return *text* as an element of an array literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def array(values: Sequence[Any]) -> str:
    """Return *values* as an array literal; the driver takes ten times as long for a list."""
    return "{" + ",".join("NULL" if v is None else _quoted(str(v)) for v in values) + "}"


def text_array(values: Sequence[str]) -> str:
    """Return what :func:`array` does; no text of a job has a NUL character."""
    texts = "\0".join(values).replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{texts}"}}'


def number_array(values: Sequence[int]) -> str:
    return f"{{{','.join(map(str, values))}}}"


def id_array(ids: Sequence[UUID]) -> str:
    return "{" + ",".join([each.hex for each in ids]) + "}"
