"""Counts up to ten thousand rows, which stays quick in a table of millions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from django.db import connections
from django.db.models import QuerySet
from django.utils.formats import number_format

from ..db import dialect_for
from ..models import Job, JobQuerySet
from ..status import TIMED, Status

CAP = 10_000

K = TypeVar("K")


class CappedCount(int):
    """A number of rows, at most :data:`CAP`. If there are more, ``capped`` is true.

    Its text is then ``10,000+``.
    """

    capped: bool

    def __new__(cls, counted: int) -> CappedCount:
        number = super().__new__(cls, min(counted, CAP))
        number.capped = counted > CAP
        return number

    def __str__(self) -> str:
        return number_format(int(self), force_grouping=True) + ("+" if self.capped else "")


def total(numbers: Iterable[CappedCount]) -> CappedCount:
    """Return the sum of *numbers*."""
    return CappedCount(sum(int(number) + number.capped for number in numbers))


def capped_count(rows: QuerySet[Any], *, newest_first: bool = False) -> CappedCount:
    """Count *rows*; the database stops at 10,001.

    *newest_first* is for rows above some id: the database reads the ids from the highest one down.
    Else PostgreSQL may read the whole table, because it expects to find so many rows soon.
    """
    first = rows.order_by("-pk").values("pk")[: CAP + 1] if newest_first else _first(rows)
    return CappedCount(first.count())


def capped_counts(groups: Mapping[K, QuerySet[Any]], using: str) -> dict[K, CappedCount]:
    """Count several sets of rows together."""
    if not groups:
        return {}
    queries = []
    for place, rows in enumerate(groups.values()):
        sql, values = compiled(_first(rows), using)
        queries.append((f"SELECT {place}, COUNT(*) FROM ({sql}) counted", values))  # noqa: S608
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dict(dialect_for(connection).union(cursor, queries))
    return {key: CappedCount(found[place]) for place, key in enumerate(groups)}


def status_counts(using: str) -> dict[Status, CappedCount]:
    """Count the jobs of each status."""
    jobs: Any = Job.objects.using(using)
    return capped_counts({status: of_status(jobs.all(), status) for status in Status}, using)


def counts_of_scan(rows: QuerySet[Any], most: int, using: str) -> dict[str, CappedCount]:
    """Count *rows*, jobs, by status. One statement reads each of at most *most* of them once.

    That is for conditions without an index, for which :func:`capped_counts` would read the same
    rows once for each status.
    """
    sql, params = compiled(rows.order_by().values("status")[:most], using)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT status, COUNT(*) FROM ({sql}) counted GROUP BY status",  # noqa: S608
            params,
        )
        found = dict(cursor.fetchall())
    return {status: CappedCount(found.get(status, 0)) for status in Status.values}


def ready_queues(using: str) -> list[str]:
    """Return the names of the queues that have pending jobs."""
    # The other ready names are signals for workers, which no queue can have.
    connection = connections[using]
    with connection.cursor() as cursor:
        names = dialect_for(connection).ready_queues(cursor)
    return [name for name in names if name[0] not in "@!"]


def of_status(jobs: JobQuerySet, status: str) -> JobQuerySet:
    """Return the jobs of one status, with the condition of its partial index."""
    if status == Status.STARTED:
        return jobs.running()
    if status in TIMED:
        return jobs.timed().filter(status=status)
    return jobs.filter(status=status)


def compiled(rows: QuerySet[Any], using: str) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL of *rows* and its parameters."""
    sql, params = rows.query.get_compiler(using).as_sql()
    return sql, tuple(params)


def _first(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.order_by().values("pk")[: CAP + 1]
