"""The first rows of several lines, read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import QuerySet

from ..db import dialect_for
from .capped_count import compiled


def heads(
    rows: QuerySet[Any], column: str, values: Sequence[Any], most: int, using: str
) -> Iterator[tuple[Any, ...]]:
    """Yield the first *most* of *rows* for each of the *values* of *column*.

    *rows* has the wanted columns and their order. What is yielded is a value, and the columns of
    one of its rows as the database returns them: see :func:`uuid_of`.
    """
    if not values:
        return
    connection = connections[using]
    # Compiled once: the queries differ in the value only.
    field: Any = rows.model._meta.get_field(column)
    prepared = [field.get_db_prep_value(value, connection) for value in values]
    sql, given = compiled(rows.filter(**{column: values[0]})[:most], using)
    queries = [
        (
            f"SELECT {number}, head.* FROM ({sql}) head",  # noqa: S608
            [value if each == prepared[0] else each for each in given],
        )
        for number, value in enumerate(prepared)
    ]
    with connection.cursor() as cursor:
        found = dialect_for(connection).union(cursor, queries)
    for number, *columns in found:
        yield (values[number], *columns)


def uuid_of(value: Any) -> UUID:
    """Return a UUID that raw SQL has read: some databases store its text."""
    return value if isinstance(value, UUID) else UUID(str(value))
