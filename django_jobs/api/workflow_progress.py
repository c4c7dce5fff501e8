"""How far jobs and everything they depend on have come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

from django.db import connections

from ..db import dialect_for
from ..define.routing import databases
from ..status import ENDED, Status
from .stored_job import StoredJob

# Most ids in one query.
_CHUNK = 5_000


def progress_of(jobs: Sequence[StoredJob]) -> dict[str, int]:
    """Return ``done``, ``total`` and ``failed`` of *jobs* and all that they depend on.

    ``done`` counts every end, ``failed`` the ends without success.
    """
    counts: Counter[str] = Counter()
    stored = []
    for job in jobs:
        if job._ended is not None and job._ended._state.adding:  # it ran here, without a row
            counts[job._ended.status] += 1
        else:
            stored.append(job)
    for using, ids in ids_by_database(stored, chunk=len(stored)):
        connection = connections[using]
        with connection.cursor() as cursor:
            for status, number in dialect_for(connection).counts_above(cursor, ids):
                counts[status] += number
    done = sum(number for status, number in counts.items() if status in ENDED)
    return {"done": done, "total": counts.total(), "failed": done - counts[Status.SUCCESS]}


def ids_by_database(
    jobs: Sequence[StoredJob], chunk: int = _CHUNK
) -> Iterator[tuple[str, list[UUID]]]:
    """Yield each database's alias with the ids of *jobs* there, at most *chunk* at a time.

    A job whose database is not known is looked for in each.
    """
    for using in databases():
        ids = [job.uuid for job in jobs if job._using in (using, "")]
        for start in range(0, len(ids), max(chunk, 1)):
            yield using, ids[start : start + chunk]
