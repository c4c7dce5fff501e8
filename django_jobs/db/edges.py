"""The edges of workflows: which job waits for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from ..transitions import NOT_YET, PARENTS_ENDED, READY
from ..values import NewEdge
from .chunks import CHUNK, chunks, marks
from .sql import SQL
from .tables import EDGES, JOBS, as_uuid


class Edges(SQL):
    """Writes edges, walks them, and counts down what the children of ended jobs wait for."""

    def insert_edges(self, cursor: CursorWrapper, edges: Sequence[NewEdge]) -> None:
        """Insert up to :attr:`~.base.Dialect.insert_chunk` edges with one statement."""
        cursor.executemany(
            f"INSERT INTO {EDGES} (parent_id, child_id, kind, position) VALUES (%s, %s, %s, %s)",
            [(self.uuid(edge.parent), self.uuid(edge.child), *edge[2:]) for edge in edges],
        )

    def taken(
        self, cursor: CursorWrapper, children: Sequence[UUID]
    ) -> list[tuple[UUID, UUID, str | None, str | None]]:
        """Return (child, parent, its status, its result) of what *children* take, in order."""
        cursor.execute(
            "SELECT e.child_id, e.parent_id, p.status, p.result "
            f"FROM {EDGES} e LEFT JOIN {JOBS} p ON p.id = e.parent_id "
            f"WHERE e.child_id IN ({marks(children)}) AND e.position >= 0 "
            "ORDER BY e.child_id, e.position",
            self.uuids(children),
        )
        return [(as_uuid(child), as_uuid(parent), *rest) for child, parent, *rest in cursor]

    def count_down(
        self, cursor: CursorWrapper, succeeded: Sequence[UUID], ended: Sequence[UUID]
    ) -> list[tuple[UUID, str, str | None]]:
        """Subtract ended parents from ``pending_parents`` of the jobs that depend on them.

        *ended* has all jobs that ended, also those that *succeeded*. Returns (id, queue, options)
        of the jobs that have become ready: they are PENDING, or SCHEDULED if their time is in the
        future.
        """
        good, left = set(succeeded), Counter[UUID]()
        for chunk in chunks(ended):
            cursor.execute(
                f"SELECT parent_id, child_id, kind FROM {EDGES} "
                f"WHERE parent_id IN ({marks(chunk)})",
                self.uuids(chunk),
            )
            left.update(
                as_uuid(child)
                for parent, child, kind in cursor.fetchall()
                if kind == "complete" or as_uuid(parent) in good
            )
        ready: list[tuple[UUID, str, str | None]] = []
        for chunk in chunks(sorted(left)):
            ready += self._count_down(cursor, {child: left[child] for child in chunk})
        return ready

    def _count_down(
        self, cursor: CursorWrapper, left: dict[UUID, int]
    ) -> list[tuple[UUID, str, str | None]]:
        children = self.uuids(list(left))
        if self.connection.features.has_select_for_update:
            # In one order, so that two transactions that end members of one group do not deadlock.
            cursor.execute(
                f"SELECT id FROM {JOBS} WHERE id IN ({marks(children)}) ORDER BY id FOR UPDATE",
                children,
            )
        for number in set(left.values()):
            some = self.uuids([child for child, count in left.items() if count == number])
            cursor.execute(
                f"UPDATE {JOBS} SET pending_parents = pending_parents - {number} "
                f"WHERE id IN ({marks(some)})",
                some,
            )
        cursor.execute(
            f"SELECT id, queue, options FROM {JOBS} WHERE id IN ({marks(children)}) "
            f"AND status = {PARENTS_ENDED.source} AND pending_parents <= 0 AND waiting_for IS NULL",
            children,
        )
        ready = [(as_uuid(child), queue, options) for child, queue, options in cursor.fetchall()]
        if ready:
            ids = self.uuids([child for child, _queue, _options in ready])
            cursor.execute(
                f"UPDATE {JOBS} SET ready_at = {self.now}, "
                f"status = CASE WHEN run_at > {self.now} THEN {NOT_YET} ELSE {READY} END "
                f"WHERE id IN ({marks(ids)})",
                ids,
            )
        return ready

    def below(self, cursor: CursorWrapper, ids: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
        """Return (parent, child) of every edge by which jobs need the success of *ids*."""
        return self._walk(cursor, ids, "parent_id", "child_id", " AND e.kind = 'result'")

    def above(self, cursor: CursorWrapper, ids: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
        """Return (parent, child) of every edge that leads to *ids*."""
        return self._walk(cursor, ids, "child_id", "parent_id", "")

    def counts_above(self, cursor: CursorWrapper, ids: Sequence[UUID]) -> list[tuple[str, int]]:
        """Return how many of the jobs *ids* and of those above them have each status."""
        if len(ids) > CHUNK:
            # A job above several of them is counted once.
            return self._counts(cursor, {*ids, *(parent for parent, _ in self.above(cursor, ids))})
        cursor.execute(
            self.recursive(
                f"walked (id) AS (SELECT id FROM {JOBS} WHERE id IN ({marks(ids)}) "
                f"UNION SELECT e.parent_id FROM walked w JOIN {EDGES} e ON e.child_id = w.id)",
                f"j.status, count(*) FROM walked JOIN {JOBS} j ON j.id = walked.id "
                "GROUP BY j.status",
            ),
            self.uuids(ids),
        )
        return list(cursor.fetchall())

    def _counts(self, cursor: CursorWrapper, ids: Iterable[UUID]) -> list[tuple[str, int]]:
        counts = Counter[str]()
        for chunk in chunks(list(ids)):
            cursor.execute(
                f"SELECT status, count(*) FROM {JOBS} WHERE id IN ({marks(chunk)}) GROUP BY status",
                self.uuids(chunk),
            )
            counts.update(dict(cursor.fetchall()))
        return list(counts.items())

    def _walk(
        self, cursor: CursorWrapper, ids: Sequence[UUID], near: str, far: str, condition: str
    ) -> list[tuple[UUID, UUID]]:
        found: list[tuple[UUID, UUID]] = []
        for chunk in chunks(ids):
            cursor.execute(
                self.recursive(
                    "walked (parent_id, child_id) AS ("
                    f"SELECT e.parent_id, e.child_id FROM {EDGES} e "
                    f"WHERE e.{near} IN ({marks(chunk)}){condition} "
                    "UNION SELECT e.parent_id, e.child_id FROM walked w "
                    f"JOIN {EDGES} e ON e.{near} = w.{far}{condition})",
                    "parent_id, child_id FROM walked",
                ),
                self.uuids(chunk),
            )
            found += [(as_uuid(parent), as_uuid(child)) for parent, child in cursor.fetchall()]
        return found
