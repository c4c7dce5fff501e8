"""How statements and their parameters are written for PostgreSQL."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

CHANNEL = "django_jobs"
NOW = "statement_timestamp()"
SECOND = "interval '1 second'"
NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"
#: The type of a column or parameter that holds values of a Python type.
SQL_TYPES = {
    bool: "bool", datetime.datetime: "timestamptz", float: "float8", int: "bigint", str: "text",
    UUID: "uuid",
}  # fmt: skip


def numbered(sql: str) -> bytes:
    """Return *sql* with ``$1``, ``$2``, … for its marks."""
    first, *others = sql.split("%s")
    marked = "".join(f"${number}{text}" for number, text in enumerate(others, 1))
    return f"{first}{marked}".encode()


#: :func:`numbered`, for texts that come again and again.
kept_numbered = functools.lru_cache(32)(numbered)


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
