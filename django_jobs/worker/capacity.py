"""Whether the database server has as many connections as a worker needs."""

from __future__ import annotations

import dataclasses

from django.db import DatabaseError, InterfaceError, connections

from ..db import dialect_for
from ..db.base import Capacity
from .options import WorkerOptions

# The coordinator's connections: for heartbeats and commands, and for duties that wait for locks.
_COORDINATOR = 2
# The part of the server's connections that should stay free for web processes.
_OTHERS = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """The connections of a ``runworker``, with the largest number of processes."""

    processes: int
    #: The connections of the worker processes, one each, of the coordinator and of the beat.
    own: int
    #: The connections that jobs open besides, if all of them use the database at a time.
    jobs: int

    @classmethod
    def of(cls, options: WorkerOptions) -> Need:
        processes = options.autoscale.most if options.autoscale else options.processes
        # Plain functions in the event loop share one thread.
        each = options.connections or (options.slots if options.pool == "threads" else 1)
        return cls(processes, processes + _COORDINATOR + options.beat, processes * each)

    def __str__(self) -> str:
        beat = ", one for the beat" if self.own > self.processes + _COORDINATOR else ""
        return (
            f"{self.processes} processes hold {self.own} connections (one each, {_COORDINATOR} for "
            f"the coordinator{beat}), and their jobs may open {self.jobs} more"
        )


def look(options: WorkerOptions) -> Capacity | None:
    """Return the limits of the server, or None if it has none or does not answer."""
    try:
        return dialect_for(connections[options.using]).capacity()
    except (DatabaseError, InterfaceError):
        return None  # the workers wait for the database
    finally:
        # The supervisor forks: a child must not inherit an open connection.
        connections[options.using].close()


def problem(options: WorkerOptions, capacity: Capacity) -> tuple[str, bool]:
    """Return a message when the server has too few connections, and whether to refuse the start.

    The message is "" when there are enough. A pooler shares the server's connections, so a start
    behind one is never refused. Jobs that do not use the database open no connection, so a start is
    not refused for theirs.
    """
    need = Need.of(options)
    advice = (
        "Start fewer processes (--concurrency, --autoscale), "
        f"{'lower --connections, ' if options.connections else ''}put a pooler before the server, "
        "or raise its max_connections."
    )
    if need.own > capacity.allowed:
        return f"{need}, and the server allows {capacity.allowed}. {advice}", capacity.direct
    left = capacity.allowed - capacity.used - need.own - need.jobs
    if left < capacity.allowed * _OTHERS:
        in_use = f"of {capacity.allowed} that the server allows, {capacity.used} are in use"
        return f"{need}; {in_use}, so {max(0, left)} are left for the web. {advice}", False
    return "", False
