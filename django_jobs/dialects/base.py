"""The verbs that each database speaks in its own way."""

from __future__ import annotations

import abc
import copy
import datetime
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import DateTimeField
from django.db.models.expressions import RawSQL

from ..values import Claimed, NewJob, Outcome

JOBS = "django_jobs_job"
WORKERS = "django_jobs_worker"
QUEUES = "django_jobs_queue"
UNIQUE_KEYS = "django_jobs_uniquekey"
COMMANDS = "django_jobs_command"


class Dialect(abc.ABC):
    """A database's way to insert, claim, record and wake, over one connection."""

    #: How a sleeping worker learns of new work, as told to a person at start.
    wakeup: ClassVar[str]
    #: The shortest and the longest sleep in seconds between two looks at an empty queue.
    poll_seconds: ClassVar[tuple[float, float]]
    #: Most rows in one INSERT.
    insert_chunk: ClassVar[int]

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

    # --- the life of a job ----------------------------------------------------------------------

    @abc.abstractmethod
    def insert(self, cursor: CursorWrapper, rows: Sequence[NewJob]) -> None:
        """Insert up to :attr:`insert_chunk` jobs with one statement."""

    def insert_and_wake(self, row: NewJob, topic: str) -> bool:
        """Insert one job, commit and wake the workers in one round trip, outside a transaction.

        Return False, having done nothing, where the database or the driver cannot.
        """
        return False

    @abc.abstractmethod
    def claim(
        self, worker_id: UUID, queues: Sequence[str], limit: int
    ) -> tuple[list[Claimed], bool]:
        """Make up to *limit* ready jobs STARTED, by priority and age over all *queues*.

        Return them in that order, and whether others that were ready were locked just then. A
        worker whose lease is over gets nothing, and a paused queue gives nothing.
        """

    @abc.abstractmethod
    def write_outcomes(
        self, cursor: CursorWrapper, worker_id: UUID, outcomes: Sequence[Outcome]
    ) -> int:
        """Write each outcome whose job this worker still owns; return how many rows changed."""

    @abc.abstractmethod
    def ready_queues(self, cursor: CursorWrapper) -> list[str]:
        """Return the names of all queues that have pending jobs, one index probe each.

        Two names that no queue has: ``@`` says that the time of some job has come, ``!`` that some
        worker has a command to obey.
        """

    def hold_key(self, cursor: CursorWrapper, key: str, job_id: UUID, until: str) -> None:
        """Insert the row of a unique key unless there is one; wait for who inserts it just now.

        *until* is SQL of a time, or NULL.
        """
        cursor.execute(
            f"INSERT INTO {UNIQUE_KEYS} (key, job_id, until) VALUES (%s, %s, {until}) "
            "ON CONFLICT (key) DO NOTHING",
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

    @classmethod
    def is_deadlock(cls, error: Exception) -> bool:
        """Tell whether the statement fell victim to a deadlock and may be repeated."""
        return False

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


def own_connection(alias: str) -> BaseDatabaseWrapper:
    """Give this thread a new connection to *alias*, tuned for a worker's bookkeeping; return it.

    From here on ``connections[alias]`` is that connection in this thread, and in no other: no job
    shares it, and neither does a pool.
    """
    from . import dialect_for  # the dialects stand on this module

    own = connections.create_connection(alias)
    own.settings_dict = copy.deepcopy(connections[alias].settings_dict)
    dialect_for(own).tune(own.settings_dict)
    connections[alias] = own
    return own


def unix_time(alias: str) -> float:
    """Return the database's clock as seconds since 1970, UTC; it is asked."""
    from . import dialect_for

    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {dialect_for(connections[alias]).unix_time}")
        return float(cursor.fetchone()[0])


def clock(alias: str, seconds: float = 0) -> RawSQL:
    """Return an expression of the database's clock, plus *seconds*, for queries on *alias*."""
    from . import dialect_for

    return RawSQL(dialect_for(connections[alias]).after(seconds), [], output_field=DateTimeField())
