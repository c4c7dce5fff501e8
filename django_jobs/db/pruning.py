"""The deletion of jobs whose time is over."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

from ..status import ENDED
from .chunks import chunks, marks
from .sql import SQL
from .tables import JOBS, NEEDED, OF_FEW_JOBS


class Pruned(NamedTuple):
    """A batch of deleted jobs."""

    number: int
    #: When the last one's time was over, as a parameter for this database.
    place: Any
    #: The unique key and the id of each job that had a key.
    unique: Sequence[tuple[str, Any]]


class Pruning(SQL):
    """Deletes ended jobs, and the rows of other tables that are theirs."""

    @abc.abstractmethod
    def prune(self, cursor: CursorWrapper, most: int, place: Any) -> Pruned:
        """Delete up to *most* ended jobs whose time is over and all rows that are theirs.

        It takes them by their time, from *place* of an earlier batch on, and leaves those that are
        locked or needed. The database has no foreign keys here, and Django's own cascade would read
        every row first.
        """

    def _over(self, most: int, place: Any) -> tuple[str, list[Any]]:
        """Return the query for :meth:`prune`: id, unique key and place of each job, locked."""
        locked = " FOR UPDATE SKIP LOCKED" if self.connection.features.has_select_for_update else ""
        ended = ", ".join(f"'{status.value}'" for status in ENDED)
        behind = "" if place is None else "AND prune_at >= %s "
        # Without its table, "prune_at" in ORDER BY is what is selected, and no index has its order.
        sql = (
            f"SELECT id, unique_key, {self.readable('prune_at')} FROM {JOBS} "
            f"WHERE status IN ({ended}) AND prune_at <= {self.now} {behind}AND NOT {NEEDED}"
            f"ORDER BY {JOBS}.prune_at LIMIT {most}{locked}"
        )
        return sql, [] if place is None else [place]

    def _prune_found(
        self,
        cursor: CursorWrapper,
        query: tuple[str, list[Any]],
        delete: Callable[[Sequence[Any]], None],
    ) -> Pruned:
        """Run the *query* of :meth:`_over`; *delete* takes the ids as this database gives them."""
        cursor.execute(*query)
        rows = cursor.fetchall()
        if not rows:
            return Pruned(0, None, [])
        ids = [job_id for job_id, _key, _place in rows]
        for table, column in OF_FEW_JOBS:
            cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")
            for chunk in chunks(ids) if cursor.fetchone() else ():
                cursor.execute(f"DELETE FROM {table} WHERE {column} IN ({marks(chunk)})", chunk)
        delete(ids)
        return Pruned(len(rows), rows[-1][2], [(key, job_id) for job_id, key, _ in rows if key])
