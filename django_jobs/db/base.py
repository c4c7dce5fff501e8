"""The operations that each database does in its own way."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from ..define.fairness import Fairness
from ..values import Claimed, NewJob, Outcome
from .alike import AlikeJobs
from .chunks import pieces_of
from .edges import Edges
from .fair_keys import FairKeys
from .pruning import Pruning
from .step_rows import StepRows
from .tables import JOBS, UNIQUE_KEYS
from .turns import Turns

#: A claim of several queues looks at most at this many jobs, also if most of them are locked.
MOST_CANDIDATES = 10_000


class Capacity(NamedTuple):
    """How many connections the server allows this user, and how many are in use.

    ``direct``: no pooler is known to be between this process and the server.
    """

    allowed: int
    used: int
    direct: bool


class Dialect(FairKeys, Edges, StepRows, Pruning):
    """A database's way to insert, claim, record and wake, over one connection."""

    #: The way in which a sleeping worker learns of new work, as its log names it at the start.
    wakeup: ClassVar[str]
    #: The shortest and the longest sleep in seconds between two looks at an empty queue.
    poll_seconds: ClassVar[tuple[float, float]] = (0.002, 1.0)
    #: Most rows in one INSERT.
    insert_chunk: ClassVar[int]
    #: Whether :meth:`insert_and_wake` does something.
    wakes_with_insert: ClassVar[bool] = False

    # --- the life of a job ----------------------------------------------------------------------

    def insertable(self, rows: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
        """Return *rows* in pieces that fit into one INSERT."""
        lengths = (
            len(row.args) + len(row.kwargs) + len(row.headers or "") + len(row.options or "")
            for row in rows
        )
        return pieces_of(rows, lengths, self.insert_chunk)

    @abc.abstractmethod
    def insert(self, cursor: CursorWrapper, rows: Sequence[NewJob]) -> None:
        """Insert the jobs of one of the pieces of :meth:`insertable`, all or none."""

    def inserts_of(self, jobs: AlikeJobs) -> Sequence[Callable[[CursorWrapper], None]]:
        """Return the INSERTs that write *jobs*, each all or none."""
        pieces = self.insertable(jobs.rows())
        return [functools.partial(self.insert, rows=piece) for piece in pieces]

    def insert_and_wake(self, row: NewJob, topic: str) -> bool:
        """Insert one job, commit and wake the workers in one round trip, outside a transaction.

        Only where :attr:`wakes_with_insert`. Returns False, without having done anything, if the
        driver cannot do it, or if SQL past Django has begun a transaction.
        """
        return False

    @abc.abstractmethod
    def claim(
        self, worker_id: UUID, queues: Sequence[str], limit: int
    ) -> tuple[list[Claimed], bool]:
        """Make up to *limit* ready jobs STARTED, by priority and age over all *queues*.

        Returns the jobs in that order, and whether other ready jobs were locked: a claim skips
        locked jobs. A worker whose lease has expired and a paused queue get no jobs.
        """

    def keep_claims(self, needed: bool) -> None:
        """Tell whether a job of the last claim needs that no crash of the database takes it back.

        Afterwards none does, if it is *needed*. Jobs like it may be in the next claim.
        """

    def expect_older(self) -> None:
        """Older jobs than the last claims took may have become ready: look for them at once."""

    @functools.cached_property
    def _turns(self) -> Turns:
        return Turns(self)

    def claim_in_turns(
        self, worker_id: UUID, plain: Sequence[str], fair: Mapping[str, Fairness], limit: int
    ) -> tuple[list[Claimed], bool]:
        """Do as :meth:`claim` for *plain* and *fair* queues; keys of a fair one take turns.

        Also if it returns that other jobs are locked, other jobs of fair queues may be ready.
        """
        return self._claim_widening(
            limit, lambda wanted: self._turns.claim(worker_id, plain, fair, limit, wanted)
        )

    def _claim_widening(
        self, limit: int, claim: Callable[[int], tuple[list[Claimed], int]]
    ) -> tuple[list[Claimed], bool]:
        """Claim up to *limit* jobs of several queues; return them as :meth:`claim` does.

        *claim* takes the number of candidates; it returns the claimed jobs, and how many
        candidates there were.
        """
        wanted = limit
        while True:
            jobs, seen = claim(wanted)
            contended = len(jobs) < min(limit, seen)
            if jobs or seen < wanted or wanted >= MOST_CANDIDATES:
                return jobs, contended
            # Another transaction has locked all candidates, perhaps for a long time. Jobs
            # behind them may be free, also in other queues.
            wanted = 4 * wanted + 10

    def write_outcomes(
        self, cursor: CursorWrapper, worker_id: UUID, outcomes: Sequence[Outcome]
    ) -> int:
        """Write each outcome whose job this worker still owns; return how many rows changed.

        If an error ends it outside a transaction, only some may be written.
        """
        if self.connection.features.has_select_for_update:
            outcomes = sorted(outcomes, key=_by_id)  # they are locked in this order
        lengths = (
            len(outcome.result or "") + (len(outcome.failure.message) if outcome.failure else 0)
            for outcome in outcomes
        )
        return sum(
            self._write_outcomes(cursor, worker_id, piece)
            for piece in pieces_of(outcomes, lengths, len(outcomes))
        )

    @abc.abstractmethod
    def _write_outcomes(
        self, cursor: CursorWrapper, worker_id: UUID, outcomes: Sequence[Outcome]
    ) -> int: ...

    def end_of(self, job_id: UUID) -> tuple[str, str | None] | None:
        """Return a job's status and the text of its result; None when there is no such job."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT status, result FROM {JOBS} WHERE id = %s", [self.uuid(job_id)])
            row: tuple[str, str | None] | None = cursor.fetchone()
        return row

    @abc.abstractmethod
    def ready_queues(self, cursor: CursorWrapper) -> list[str]:
        """Return the names of all queues that have pending jobs, one index probe each.

        Two names are no queues: ``@`` says that a job is due for promotion, ``!`` that a worker has
        an open command.
        """

    def share_limit_locks(self, cursor: CursorWrapper, keys: Sequence[str]) -> None:
        """Let the locks of these limits' rows count on all servers that accept writes.

        The transaction has locked the rows on its own server.
        """

    def hold_key(self, cursor: CursorWrapper, key: str, job_id: UUID, until: str) -> None:
        """Insert the row of a unique key unless there is one, and lock it.

        *until* is SQL of a time, or NULL.
        """
        # DO NOTHING would not lock the row, so it could be gone before the next statement.
        cursor.execute(
            f"INSERT INTO {UNIQUE_KEYS} (key, job_id, until) VALUES (%s, %s, {until}) "
            "ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id WHERE FALSE",
            [key, self.uuid(job_id)],
        )

    # --- waking sleepers ------------------------------------------------------------------------

    def notify(self, topics: Sequence[str]) -> None:
        """Wake the workers that listen, after the jobs were committed."""

    def listen(self) -> bool:
        """Ask for notifications on this connection; return whether this database has them."""
        return False

    def fileno(self) -> int | None:
        """Return the descriptor that becomes readable with a notification, if there is one."""
        return None

    def received(self) -> list[str]:
        """Return the topics of the notifications that have come, without waiting."""
        return []

    def version(self) -> int | None:
        """Return a number that changes when another connection commits, where that is cheap."""
        return None

    # --- connections ----------------------------------------------------------------------------

    @classmethod
    def tune(cls, settings: dict[str, Any]) -> None:
        """Change the connection *settings* to what the worker's bookkeeping needs."""

    def prepare(self) -> None:
        """Set what :meth:`tune` cannot, on a new connection for the worker's bookkeeping."""

    def capacity(self) -> Capacity | None:
        """Return how many connections the server allows, where it counts them."""
        return None


def _by_id(outcome: Outcome) -> int:
    return outcome.job.id.int
