"""The turns of a worker's claims in fair queues.

The keys of a fair queue's ready jobs lie on a ring, in the order of an index that has fair jobs
only. A worker goes around it. It remembers its place, which it shares with nobody. Each worker
serves each key once in its round, so no key waits longer than one round of the quickest worker.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from ..define.fairness import Fairness, random_place, weight_problem
from ..log.fair_queues import weight_ignored
from ..values import Claimed

if TYPE_CHECKING:
    from .base import Dialect

#: Stands for jobs without a key: from before the queue was fair, or of programs that set none.
NO_KEY = ""


class Head(NamedTuple):
    """A ready job that a claim may take."""

    id: UUID
    rank: int
    queue: str = ""
    key: str = NO_KEY
    #: How many jobs of its key's turn have been claimed when it is.
    served: int = 0


class _Place(NamedTuple):
    """Where a worker's last claim ended: the key, and how many jobs of its turn it has taken."""

    key: str
    served: int


class Turns:
    """Claims jobs of fair queues, and of plain ones beside them, over one connection."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._places: dict[str, _Place] = {}

    def claim(
        self,
        worker_id: UUID,
        plain: Sequence[str],
        fair: Mapping[str, Fairness],
        limit: int,
        wanted: int,
    ) -> tuple[list[Claimed], int]:
        """Claim up to *limit* of the next *wanted* jobs; return them and how many those were.

        If there may be more, they count as *wanted*.
        """
        lines, has_more = [], False
        for queue, fairness in fair.items():
            line, goes_on = self._line(worker_id, queue, fairness, wanted)
            lines.append(line)
            has_more |= goes_on
        if plain:
            lines.append(self._dialect.first_ready(worker_id, plain, wanted))
        heads = _merged(lines)[:wanted]
        jobs = []
        if heads:
            jobs = self._dialect.claim_these(worker_id, [head.id for head in heads], limit)
        taken = {job.id for job in jobs}
        for head in heads:
            if head.id in taken and head.queue in fair:
                self._places[head.queue] = _Place(head.key, head.served)
        return jobs, wanted if has_more else len(heads)

    def _line(
        self, worker_id: UUID, queue: str, fairness: Fairness, wanted: int
    ) -> tuple[list[Head], bool]:
        """Return the next jobs of *queue* in their turns, and whether it may have others."""
        place = self._places.get(queue) or _Place(random_place(random.getrandbits), 0)
        is_amid = place.served > 0 and place.served < _weight(queue, fairness, place.key)
        keys = self._dialect.ready_keys(worker_id, queue, place.key, wanted, again=is_amid)
        served = place.served if is_amid and keys[:1] == [place.key] else 0
        weights: dict[str, int] = {}
        total = -served
        for key in keys:
            if total >= wanted:
                break
            weights[key] = _weight(queue, fairness, key)
            total += weights[key]
        if not weights:
            return [], False
        # All keys of the queue: then they have several rounds in one claim.
        is_ring = len(weights) == len(keys) < wanted
        rounds = -(-(wanted + served) // (total + served)) if is_ring else 1
        most = {key: weight * rounds for key, weight in weights.items()}
        found = self._dialect.heads(queue, most)
        goes_on = not is_ring or any(len(found[key]) == most[key] for key in most)
        line = _interleaved(found, weights, rounds, served)
        return list(itertools.islice(line, wanted)), goes_on


def _weight(queue: str, fairness: Fairness, key: str) -> int:
    if key == NO_KEY:
        return 1
    try:
        weight = fairness.weight_of(key)
        problem = weight_problem(weight)
    except Exception as error:  # of the project's function; the other keys have their turns
        problem = f"WEIGHTS raised {type(error).__name__}."
    if problem:
        weight_ignored(queue, problem)
        return 1
    assert isinstance(weight, int)
    return weight


def _interleaved(
    found: Mapping[str, Sequence[Head]], weights: Mapping[str, int], rounds: int, served: int
) -> Iterator[Head]:
    """Return the jobs in turns; the first key has had *served* jobs of its turn already."""
    left = {key: iter(heads) for key, heads in found.items()}
    for _ in range(rounds):
        for key, weight in weights.items():
            for number in range(served + 1, weight + 1):
                head = next(left[key], None)
                if head is None:
                    break
                yield head._replace(served=number)
            served = 0


def in_order_of(ids: Sequence[UUID], jobs: list[Claimed]) -> list[Claimed]:
    """Return *jobs* in the order of *ids*."""
    places = {job_id: place for place, job_id in enumerate(ids)}
    return sorted(jobs, key=lambda job: places[job.id])


def _merged(lines: Sequence[Sequence[Head]]) -> Sequence[Head]:
    """Return the jobs of all queues by priority and age; each queue's stay in their order."""
    if len(lines) == 1:
        return lines[0]
    placed: list[tuple[tuple[int, int], Head]] = []
    for line in lines:
        latest = (-(2**31), 0)
        for head in line:
            # A job does not overtake earlier jobs of its queue.
            latest = max(latest, (head.rank, head.id.int))
            placed.append((latest, head))
    placed.sort(key=lambda each: each[0])
    return [head for _latest, head in placed]
