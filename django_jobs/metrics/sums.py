"""Sums of measurements. The database adds up the numbers, and joins the texts of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from django.db import connections

from ..db import Dialect, dialect_for
from ..models import Measurement
from ..models.histogram import COUNTS
from .accumulator import EDGES, HISTOGRAMS, SECONDS, added
from .collector import Series

_ROWS = f"FROM {Measurement._meta.db_table} WHERE seconds > {Measurement.TOTAL}"
_SUMMED, _CHOSEN = (*COUNTS, *SECONDS[:2]), (*SECONDS[2:], *EDGES)
_TOTALS = [
    *(f"SUM({column})" for column in _SUMMED),
    *(f"{'MAX' if column.startswith('longest') else 'MIN'}({column})" for column in _CHOSEN),
]


class Sums(NamedTuple):
    """The sums of a queue and job function, or of the rows that begin at one time."""

    #: The queue and the job function, or None for the rows of one time.
    series: Series | None
    #: The Unix time and the length of the rows; zeros in the sums of a series.
    starts_at: int
    seconds: int
    #: As :meth:`.accumulator.Accumulator.add` takes them.
    numbers: Sequence[Any]
    #: Of a series: when its rows start, and how many jobs succeeded or failed in each of them.
    ended: Sequence[tuple[int, int]]


def sums(start: int, since: int, using: str, only: Mapping[str, str]) -> Iterator[Sums]:
    """Yield the sums of each time from *start* on, and of each series from *since* on.

    *only* has the queue or the name of the rows to read.
    """
    dialect = dialect_for(connections[using])
    totals = [*_TOTALS, *map(dialect.joined, HISTOGRAMS)]
    ended = [dialect.joined("starts_at"), dialect.joined("succeeded + failed")]
    rows = " AND ".join(
        [f"{_ROWS} AND starts_at >= %s", *(f"{dialect.exact(column)} = %s" for column in only)]
    )
    series = [dialect.exact("queue"), dialect.exact("name"), "0", "0", *totals, *ended]
    times = ["NULL", "NULL", "starts_at", "seconds", *totals, "NULL", "NULL"]
    query = (
        f"SELECT {_named(series)} {rows} GROUP BY 1, 2 UNION ALL "
        f"SELECT {', '.join(times)} {rows} GROUP BY 3, 4"
    )
    params = [since, *only.values(), start, *only.values()]
    for queue, name, starts_at, seconds, *numbers, waits, runs, starts, jobs in _found(
        dialect, query, params
    ):
        counts = map(int, numbers[: len(COUNTS)])
        histograms = added(_values(waits)), added(_values(runs))
        yield Sums(
            None if name is None else (queue, name), starts_at, seconds,
            [*counts, *numbers[len(COUNTS) :], *histograms],
            [*zip(_values(starts), _values(jobs), strict=True)],
        )  # fmt: skip


def errors(
    start: int, using: str, only: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[str, Iterator[tuple[int, dict[str, Any]]]]]:
    """Yield each name, with the start and the errors of its rows with failures from *start* on."""
    dialect = dialect_for(connections[using])
    columns = [dialect.exact("name"), dialect.joined("starts_at"), dialect.joined("errors")]
    query = f"SELECT {_named(columns)} {_rows(dialect, only)} AND failed > 0 GROUP BY 1"
    for name, starts, texts in _found(dialect, query, [start, *only.values()]):
        yield name, zip(_values(starts), _values(texts), strict=True)


def _rows(dialect: Dialect, only: Mapping[str, str]) -> str:
    conditions = ["starts_at >= %s", *(f"{dialect.exact(column)} = %s" for column in only)]
    return " AND ".join([_ROWS, *conditions])


def _named(columns: Sequence[str]) -> str:
    return ", ".join(f"{column} AS c{number}" for number, column in enumerate(columns))


def _found(dialect: Dialect, query: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    with dialect.connection.cursor() as cursor:
        cursor.execute(dialect.uncut(query), params)
        return list(cursor.fetchall())


def _values(joined: str | None) -> list[Any]:
    # One long JSON text is parsed several times as fast as thousands of short ones.
    found: list[Any] = json.loads(f"[{joined or ''}]")
    return found
