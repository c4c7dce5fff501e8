"""Wakes sleeping workers and beats once a transaction has committed (PostgreSQL's NOTIFY).

Nothing depends on a notification for correctness: workers and beats also look by themselves.
"""

from __future__ import annotations

import enum

from django.db import connections, transaction

from ..db import dialect_for
from ..status import Status
from ..values import NewJob


class Topic(enum.StrEnum):
    """What a notification names beside queues. No queue can have such a name."""

    #: Jobs were written, or have changed, that start later: look when the next one is due.
    TIMED = "@"
    #: Commands for workers were written.
    COMMANDS = "!"
    #: Schedules have changed.
    SCHEDULES = "#"
    #: Something was committed; the database does not say what.
    ANY = "*"


def topic_of(row: NewJob) -> str:
    """Return what announces a new row: its queue, or :attr:`Topic.TIMED`."""
    return row.queue if row.status == Status.PENDING else Topic.TIMED


def announce(using: str, topics: set[str]) -> None:
    """Notify of *topics* once the current transaction has committed, at most once for it."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    if not connection.in_atomic_block:
        _notify(using, topics)
        return
    # Every hook has the same set, and the first one that runs empties it. A savepoint that rolls
    # back takes its own hook along; a topic that it leaves behind wakes somebody for nothing.
    pending: set[str] = connection.__dict__.setdefault("_django_jobs_topics", set())
    pending |= topics

    def hook() -> None:
        _notify(using, pending)

    transaction.on_commit(hook, using=using, robust=True)


def _notify(using: str, topics: set[str]) -> None:
    if topics:
        sent = sorted(topics)
        topics.clear()
        dialect_for(connections[using]).notify(sent)
