"""Wakes sleeping workers and beats after a commit, with PostgreSQL's NOTIFY.

A lost notification only costs time: workers and beats also poll.
"""

from __future__ import annotations

import enum

from django.db import connections

from ..db import dialect_for
from ..db.commits import after_commit
from ..status import Status
from ..values import NewJob


class Topic(enum.StrEnum):
    """The names in notifications besides those of queues. No queue can have such a name."""

    #: Jobs that start later were written or changed, so the next due time may be another.
    TIMED = "@"
    #: Commands for workers were written.
    COMMANDS = "!"
    #: Schedules have changed.
    SCHEDULES = "#"
    #: Something was committed; the database does not say what.
    ANY = "*"


def topic_of(row: NewJob) -> str:
    """Return the topic of a new row: its queue, or :attr:`Topic.TIMED`."""
    return row.queue if row.status == Status.PENDING else Topic.TIMED


# No queue has it in its name.
_OF_ONE = "\t"
_PENDING = Status.PENDING.value


def topic_of_one(row: NewJob) -> str:
    """Return the topic of a row that no other row shares: its queue and its id."""
    if row.status == _PENDING:
        return f"{row.queue}{_OF_ONE}{row.id.hex}"
    return topic_of(row)


def queue_of(topic: str) -> str:
    """Return the queue that *topic* names; a topic that names none is returned as it is."""
    return topic.partition(_OF_ONE)[0]


def is_of_one_job(topic: str) -> bool:
    """Return whether *topic* tells of one job only; else there may be any number."""
    return _OF_ONE in topic


def announce(using: str, topics: set[str]) -> None:
    """Notify of *topics* after the current transaction has committed, once for all calls in it."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    if not connection.in_atomic_block:
        _notify(using, topics)
        return
    # All hooks share the set, and the first one that runs empties it. A savepoint that rolls back
    # drops its hook but leaves its topics, which costs a needless wakeup.
    pending: set[str] = connection.__dict__.setdefault("_django_jobs_topics", set())
    pending |= topics
    after_commit(using, _notify, using, pending)


def _notify(using: str, topics: set[str]) -> None:
    if topics:
        sent = sorted(topics)
        topics.clear()
        dialect_for(connections[using]).notify(sent)
