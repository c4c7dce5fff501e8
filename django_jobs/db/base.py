"""The operations that each database does in its own way."""

from __future__ import annotations

import abc
import datetime
import functools
import operator
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ..define.fairness import Fairness
from ..moments import FIRST_YEAR, LAST_YEAR
from ..status import ENDED
from ..transitions import CLAIM, NOT_YET, PARENTS_ENDED, READY, RECORD
from ..values import CLAIMED_TYPES, NEW_TYPES, Claimed, NewEdge, NewJob, Outcome
from .alike import AlikeJobs
from .errors import Kind, kind_of
from .turns import NO_KEY, Head, Turns

JOBS = "django_jobs_job"
WORKERS = "django_jobs_worker"
QUEUES = "django_jobs_queue"
UNIQUE_KEYS = "django_jobs_uniquekey"
LIMIT_LOCKS = "django_jobs_limitlock"
COMMANDS = "django_jobs_command"
EDGES = "django_jobs_edge"
STEPS = "django_jobs_step"
#: The other tables with rows of a job, and the columns that name it.
OF_JOBS = (
    ("django_jobs_attempt", "job_id"),
    ("django_jobs_attemptlog", "job_id"),
    (EDGES, "parent_id"),
    (EDGES, "child_id"),
)
#: Tables with rows of few jobs, and the column that names the job. Whether they have any rows is
#: asked first, because to look for those of a thousand jobs takes as long as to delete the jobs.
OF_FEW_JOBS = (
    (STEPS, "job_id"),
    ("django_jobs_eventwait", "job_id"),
    ("django_jobs_approval", "job_id"),
)

#: SQL condition of an ended job whose result another job may still take: that one has not ended, or
#: it failed and an operator may retry it. With an OFFSET no planner first reads every such job of
#: the table, to compare each ended job with all of them.
NEEDED = f"""
({JOBS}.has_dependents AND EXISTS (
    SELECT 1 FROM {EDGES} e JOIN {JOBS} taker ON taker.id = e.child_id
    WHERE e.parent_id = {JOBS}.id AND taker.status NOT IN ('SUCCESS', 'REVOKED')
    LIMIT 1 OFFSET 0))
"""

#: Most keys of a fair queue in one statement.
KEYS = 50
#: At most this many parameters of one kind are in a statement.
CHUNK = 1_000
#: Most characters of the jobs' texts in a statement: half of the 16 MiB that MariaDB takes at most,
#: when each takes four bytes.
TEXT = 2 * 1024 * 1024

#: A claim of several queues looks at most at this many jobs, also if most of them are locked.
MOST_CANDIDATES = 10_000

# A call gives a time as a moment, or in seconds from now.
SECONDS_OF = {"eta": "countdown", "expires_at": "expires_in"}
#: The fields of a new job that become columns.
NEW_FIELDS = tuple(name for name in NEW_TYPES if name not in SECONDS_OF.values())
#: The columns that an INSERT writes: those of :data:`NEW_FIELDS`, and two times.
NEW_COLUMNS = (
    *("run_at" if name == "eta" else name for name in NEW_FIELDS),
    "enqueued_at",
    "ready_at",
)

#: The columns of a claim that hold ids, and those that hold times.
CLAIMED_IDS, CLAIMED_TIMES = (
    tuple(name for name, kind in CLAIMED_TYPES.items() if kind is wanted)
    for wanted in (UUID, datetime.datetime)
)

_new_fields = operator.attrgetter(*NEW_FIELDS)
_NEW_IDS, _NEW_TIMES = (
    tuple(at for at, name in enumerate(NEW_FIELDS) if NEW_TYPES[name] is wanted)
    for wanted in (UUID, datetime.datetime)
)

#: The columns of a step's row that get values; its two times are ages, and the others are NULL.
STEP_COLUMNS = (
    "claims", "key", "position", "kind", "function", "state", "result", "data", "tries",
    "error_class", "error_message", "traceback",
)  # fmt: skip
#: The columns that a later run of a job reads; behind them, whether ``wake_at`` is over.
LOADED_STEP = (
    "key", "position", "kind", "function", "state", "result", "data", "tries", "wake_at",
    "error_class", "error_message", "traceback",
)  # fmt: skip
INSERT_STEP = f"""
INSERT INTO {STEPS} (job_id, {{columns}}, began_at, ended_at)
SELECT id, {", ".join(["%s"] * len(STEP_COLUMNS))}, {{began}}, {{ended}} FROM {JOBS}
WHERE id = %s AND status = {RECORD.source} AND worker_id = %s AND claims = %s
"""

_DEADLOCK_TRIES = 8
#: Seconds. From the third try on there is a pause before each, chosen up to this for each earlier
#: one: in a Galera cluster who comes first is not known before COMMIT, so several may meet again.
_DEADLOCK_PAUSE = 0.02

T = TypeVar("T")


class Capacity(NamedTuple):
    """How many connections the server allows this user, and how many are in use.

    ``direct``: no pooler is known to be between this process and the server.
    """

    allowed: int
    used: int
    direct: bool


class Pruned(NamedTuple):
    """A batch of deleted jobs."""

    number: int
    #: When the last one's time was over, as a parameter for this database.
    place: Any
    #: The unique key and the id of each job that had a key.
    unique: Sequence[tuple[str, Any]]


class Dialect(abc.ABC):
    """A database's way to insert, claim, record and wake, over one connection."""

    #: The way in which a sleeping worker learns of new work, as its log names it at the start.
    wakeup: ClassVar[str]
    #: The shortest and the longest sleep in seconds between two looks at an empty queue.
    poll_seconds: ClassVar[tuple[float, float]] = (0.002, 1.0)
    #: Most rows in one INSERT.
    insert_chunk: ClassVar[int]
    #: Whether :meth:`insert_and_wake` does something.
    wakes_with_insert: ClassVar[bool] = False

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    # --- time -----------------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def now(self) -> str:
        """SQL of the database's clock, as the job table's columns keep it."""

    @abc.abstractmethod
    def after(self, seconds: float) -> str:
        """SQL of the database's clock plus *seconds*."""

    @property
    @abc.abstractmethod
    def unix_time(self) -> str:
        """SQL of the database's clock as seconds since 1970, UTC."""

    #: The moment, in UTC, at which :meth:`clock_texts` lets the clock stand. With None it runs.
    stands_at: datetime.datetime | None = None

    @abc.abstractmethod
    def clock_texts(self, moment: datetime.datetime) -> Mapping[str, str]:
        """Return what stands for the clock in the statements, and SQL of *moment* to replace it.

        *moment* is in UTC. For :mod:`django_jobs.testing`, which replaces these texts.
        """

    #: SQL of the first and the last moment that is read as it is: a day beyond the years that a
    #: call may name, which begin and end later in some time zones.
    first_moment: ClassVar[str] = f"'{FIRST_YEAR - 1}-12-31 00:00:00'"
    last_moment: ClassVar[str] = f"'{LAST_YEAR + 1}-01-02 00:00:00'"

    @classmethod
    def readable(cls, sql: str) -> str:
        """SQL of the time *sql*, or of the nearest one that Python and every time zone can tell."""
        first, last = cls.first_moment, cls.last_moment
        return (
            f"CASE WHEN {sql} < {first} THEN {first} WHEN {sql} > {last} THEN {last} ELSE {sql} END"
        )

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

    # --- fair queues ----------------------------------------------------------------------------

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

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

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
                cursor.execute(f"DELETE FROM {table} WHERE {column} IN ({_marks(chunk)})", chunk)
        delete(ids)
        return Pruned(len(rows), rows[-1][2], [(key, job_id) for job_id, key, _ in rows if key])

    def long_query(self, cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> list[Any]:
        """Return the rows of a query that has a long text and does little work."""
        cursor.execute(sql, params)
        return list(cursor.fetchall())

    def steps_of(self, job_id: UUID) -> list[tuple[Any, ...]] | None:
        """Return the steps of a job, in order, see :data:`LOADED_STEP`; None: ask the ORM."""
        return None

    def insert_step(
        self,
        job_id: UUID,
        worker_id: UUID,
        values: Sequence[Any],
        ages: Sequence[float | None],
        lock: str,
    ) -> bool:
        """Insert the row of a step; return whether *worker_id* has the job.

        *values* are those of :data:`STEP_COLUMNS`, the job's claims first. *lock* ends the search
        for the job.
        """
        moments = ["NULL" if age is None else self.after(-age) for age in ages]
        sql = INSERT_STEP.format(
            columns=self.quoted(STEP_COLUMNS), began=moments[0], ended=moments[1]
        )
        fence = [self.uuid(job_id), self.uuid(worker_id), values[0]]
        with self.connection.cursor() as cursor:
            cursor.execute(sql + lock, [*values, *fence])
            return bool(cursor.rowcount)

    def send_event(
        self, name: str, payload: str | None, result: str | None, keep: float
    ) -> tuple[int, bool] | None:
        """Insert an event that one job takes, commit, and give it to the job that waits for it.

        The job goes on with *result*; *payload* and *result* are JSON, *keep* is in seconds.
        Returns the id of the event, and whether nothing is left to do. If not, the event must be
        offered. Returns None, without having done anything, where that is not one round trip.
        """
        return None

    def give_event(
        self, cursor: CursorWrapper, event_id: int, wait_id: int, job_id: UUID, result: str | None
    ) -> tuple[bool, bool] | None:
        """Delete an event and the wait of a WAITING job, which goes on with *result*, JSON.

        Returns whether there was the event, and whether the wait was open. The open transaction may
        commit only if both are true. It then wakes workers, and need not wait for the disk: if a
        crash takes it back, event and wait are there again. Returns None, without having done
        anything, where several statements must do it.
        """
        return None

    # --- workflows ------------------------------------------------------------------------------

    def insert_edges(self, cursor: CursorWrapper, edges: Sequence[NewEdge]) -> None:
        """Insert up to :attr:`insert_chunk` edges with one statement."""
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
            f"WHERE e.child_id IN ({_marks(children)}) AND e.position >= 0 "
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
                f"WHERE parent_id IN ({_marks(chunk)})",
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
                f"SELECT id FROM {JOBS} WHERE id IN ({_marks(children)}) ORDER BY id FOR UPDATE",
                children,
            )
        for number in set(left.values()):
            some = self.uuids([child for child, count in left.items() if count == number])
            cursor.execute(
                f"UPDATE {JOBS} SET pending_parents = pending_parents - {number} "
                f"WHERE id IN ({_marks(some)})",
                some,
            )
        cursor.execute(
            f"SELECT id, queue, options FROM {JOBS} WHERE id IN ({_marks(children)}) "
            f"AND status = {PARENTS_ENDED.source} AND pending_parents <= 0 AND waiting_for IS NULL",
            children,
        )
        ready = [(as_uuid(child), queue, options) for child, queue, options in cursor.fetchall()]
        if ready:
            ids = self.uuids([child for child, _queue, _options in ready])
            cursor.execute(
                f"UPDATE {JOBS} SET ready_at = {self.now}, "
                f"status = CASE WHEN run_at > {self.now} THEN {NOT_YET} ELSE {READY} END "
                f"WHERE id IN ({_marks(ids)})",
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
                f"walked (id) AS (SELECT id FROM {JOBS} WHERE id IN ({_marks(ids)}) "
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
                f"SELECT status, count(*) FROM {JOBS} WHERE id IN ({_marks(chunk)}) "
                "GROUP BY status",
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
                    f"WHERE e.{near} IN ({_marks(chunk)}){condition} "
                    "UNION SELECT e.parent_id, e.child_id FROM walked w "
                    f"JOIN {EDGES} e ON e.{near} = w.{far}{condition})",
                    "parent_id, child_id FROM walked",
                ),
                self.uuids(chunk),
            )
            found += [(as_uuid(parent), as_uuid(child)) for parent, child in cursor.fetchall()]
        return found

    def recursive(self, query: str, columns: str) -> str:
        """Return SQL that walks *query*, as deep as it goes, and selects *columns*."""
        return f"WITH RECURSIVE {query} SELECT {columns}"

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

    # --- shared by the dialects -----------------------------------------------------------------

    def quoted(self, names: Sequence[str], prefix: str = "") -> str:
        quote = self.connection.ops.quote_name
        return ", ".join(prefix + quote(name) for name in names)

    def datetime(self, value: datetime.datetime | None) -> Any:
        """Return *value* as this database's parameter."""
        return None if value is None else self.connection.ops.adapt_datetimefield_value(value)

    def uuid(self, value: UUID | None) -> Any:
        """Return *value* as this database's parameter."""
        if value is None or self.connection.features.has_native_uuid_field:
            return value
        return value.hex

    def new_parameters(self, row: NewJob) -> list[Any]:
        """Return the values of :data:`NEW_FIELDS` as this database's parameters."""
        values = list(_new_fields(row))
        for at in _NEW_IDS:
            values[at] = self.uuid(values[at])
        for at in _NEW_TIMES:
            values[at] = self.datetime(values[at])
        return values

    def uuids(self, values: Sequence[UUID]) -> list[Any]:
        return [self.uuid(value) for value in values]

    def claimable(self) -> str:
        """SQL condition, with the worker's id and the queue's name as parameters."""
        return (
            f"EXISTS (SELECT 1 FROM {WORKERS} w WHERE w.id = %s AND w.lost_at IS NULL "
            f"AND w.lease_until > {self.now}) "
            f"AND NOT EXISTS (SELECT 1 FROM {QUEUES} q WHERE q.name = %s "
            "AND q.paused_at IS NOT NULL)"
        )


def without_deadlock(using: str, action: Callable[[], T]) -> T:
    """Do *action*; repeat it after a deadlock or a serialization failure.

    Inside a transaction it is not repeated, as the conflict has ended the transaction.
    """
    for left in reversed(range(_DEADLOCK_TRIES)):
        try:
            return action()
        except OperationalError as error:
            conflict = kind_of(error) is Kind.CONFLICT
            if not conflict or not left or connections[using].in_atomic_block:
                raise
            done = _DEADLOCK_TRIES - left
            if done > 1:
                time.sleep(random.uniform(0, _DEADLOCK_PAUSE * done))
    raise AssertionError("the last try returns or raises")


def _by_id(outcome: Outcome) -> int:
    return outcome.job.id.int


def _marks(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def pieces_of(items: Sequence[T], lengths: Iterable[int], most: int) -> Iterator[Sequence[T]]:
    """Return *items* in pieces of at most *most* and, unless it is one alone, so much text."""
    if not items:
        return
    lengths = list(lengths)
    if sum(lengths) <= TEXT and len(items) <= most:
        yield items
        return
    start = total = 0
    for position, length in enumerate(lengths):
        total += length
        if position > start and (total > TEXT or position - start == most):
            yield items[start:position]
            start, total = position, length
    yield items[start:]


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return *values* in pieces that fit into a statement."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def as_uuid(value: Any) -> UUID:
    """Return an id as raw SQL gives it."""
    return value if isinstance(value, UUID) else UUID(value)
