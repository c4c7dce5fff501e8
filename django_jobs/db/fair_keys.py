"""The keys of fair queues, and the ready jobs of each."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

from ..transitions import CLAIM
from ..values import Claimed
from .sql import SQL
from .tables import JOBS, as_uuid
from .turns import NO_KEY, Head

#: Most keys of a fair queue in one statement.
KEYS = 50


class FairKeys(SQL):
    """Finds the keys of fair queues and their first jobs, and claims jobs by their ids."""

    #: SQL of the index of fair jobs: its condition with the queue as parameter, and the key.
    fair_ready: ClassVar[str] = f"status = {CLAIM.source} AND fair_key IS NOT NULL AND queue = %s"
    fair_column: ClassVar[str] = "fair_key"

    def ready_keys(
        self, worker_id: UUID, queue: str, place: str, most: int, *, again: bool
    ) -> list[str]:
        """Return the next keys of ready jobs behind *place* on the ring, once around at most.

        With *again* the key *place* is the first one, else the last one. The key
        :data:`~.turns.NO_KEY` stands for jobs without a key, if the oldest ready job has none. A
        paused queue has no keys, nor has any queue for a worker whose lease has expired.
        """
        ahead, behind = (">=", "<") if again else (">", "<=")
        last = f"AND {self.fair_column} {behind} %s"
        sql = self.recursive(
            f"ahead (found, n) AS ({self._walk_keys('ahead', f'{self.fair_column} {ahead} %s')}), "
            f"behind (found, n) AS ({self._walk_keys('behind', f'{self.fair_column} > %s', last)})",
            "found FROM (SELECT found FROM ahead "
            f"UNION ALL SELECT '{NO_KEY}' WHERE ({self._is_oldest_keyless}) "
            "UNION ALL SELECT found FROM behind) AS ring WHERE found IS NOT NULL "
            f"AND {self.claimable()} LIMIT %s",
        )
        worker = self.uuid(worker_id)
        rows = self._rows(
            sql,
            [queue, place, queue, most, queue, NO_KEY, place, queue, place, most, queue, worker,
             queue, most],
        )  # fmt: skip
        return [found for (found,) in rows]

    def _walk_keys(self, name: str, first: str, last: str = "") -> str:
        """SQL of a loose index scan: the next key after each, until there is none."""
        key = self.fair_column
        one = f"SELECT {key} FROM {JOBS} WHERE {self.fair_ready} AND {{}} {last} ORDER BY {key}"
        return (
            f"SELECT ({one.format(first)} LIMIT 1), 1 UNION ALL "
            f"SELECT ({one.format(f'{key} > {name}.found')} LIMIT 1), n + 1 "
            f"FROM {name} WHERE found IS NOT NULL AND n < %s"
        )

    @property
    def _is_oldest_keyless(self) -> str:
        rank = self.connection.ops.quote_name("rank")
        return (
            f"SELECT fair_key IS NULL FROM {JOBS} WHERE status = {CLAIM.source} AND queue = %s "
            f"ORDER BY {rank}, id LIMIT 1"
        )

    def heads(self, queue: str, most: Mapping[str, int]) -> dict[str, list[Head]]:
        """Return the first ready jobs of each of these keys of *queue*, so many at *most*."""
        found: dict[str, list[Head]] = {key: [] for key in most}
        keys = list(most)
        for start in range(0, len(keys), KEYS):
            some = keys[start : start + KEYS]
            parts, params = [], []
            for number, key in enumerate(some, start):
                parts.append(f"SELECT * FROM ({self._heads_of(number, key)}) AS k{number}")
                params += [queue, most[key]] if key == NO_KEY else [queue, key, most[key]]
            for number, job_id, rank in self._rows(" UNION ALL ".join(parts), params):
                key = keys[number]
                found[key].append(Head(as_uuid(job_id), rank, queue, key))
        for heads in found.values():
            heads.sort(key=lambda head: (head.rank, head.id.int))
        return found

    def _heads_of(self, number: int, key: str) -> str:
        """SQL of the first ready jobs of *key*, with the queue, the key and a limit to give."""
        rank = self.connection.ops.quote_name("rank")
        if key == NO_KEY:
            return (
                f"SELECT {number}, id, {rank} FROM (SELECT id, {rank}, fair_key FROM {JOBS} "
                f"WHERE status = {CLAIM.source} AND queue = %s ORDER BY {rank}, id LIMIT %s) "
                "AS oldest WHERE fair_key IS NULL"
            )
        return (
            f"SELECT {number}, id, {rank} FROM {JOBS} WHERE {self.fair_ready} "
            f"AND {self.fair_column} = %s ORDER BY {rank}, id LIMIT %s"
        )

    @abc.abstractmethod
    def first_ready(self, worker_id: UUID, queues: Sequence[str], most: int) -> list[Head]:
        """Return the first jobs that a worker may claim of plain *queues*, *most* of them.

        They are in the order of priority and age.
        """

    @abc.abstractmethod
    def claim_these(self, worker_id: UUID, ids: Sequence[UUID], limit: int) -> list[Claimed]:
        """Claim the first *limit* of these jobs that are ready and not locked, in this order."""
