"""Whether the database server has as many connections as a worker needs."""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError, connections

from ..db import dialect_for
from .options import WorkerOptions

# Connections of each process: for the loop, the chores and the heartbeat.
_OWN = 3
# The part of the server's connections that should stay free for web processes.
_OTHERS = 0.1


def needed(options: WorkerOptions) -> tuple[int, int]:
    """Return the largest number of processes, and of connections that each may open."""
    processes = options.autoscale.most if options.autoscale else options.processes
    # Plain functions in the event loop share one thread.
    jobs = options.connections or (options.slots if options.pool == "threads" else 1)
    return processes, _OWN + jobs


def problem(options: WorkerOptions) -> tuple[str, bool]:
    """Return a message when the server has too few connections, and whether to refuse the start.

    The message is "" when there are enough. A pooler shares the server's connections, so a start
    behind one is never refused.
    """
    try:
        capacity = dialect_for(connections[options.using]).capacity()
    except (DatabaseError, InterfaceError):
        return "", False  # the workers wait for the database
    finally:
        # The supervisor forks: a child must not inherit an open connection.
        connections[options.using].close()
    if capacity is None:
        return "", False
    processes, each = needed(options)
    wanted = processes * each + options.beat
    beat = " and one for the beat" if options.beat else ""
    sum_ = f"{processes} processes need {wanted} connections ({each} each{beat})"
    advice = (
        "Start fewer processes (--concurrency, --autoscale), "
        f"{'lower --connections, ' if options.connections else ''}put a pooler before the server, "
        "or raise its max_connections."
    )
    if wanted > capacity.allowed:
        return f"{sum_}, and the server allows {capacity.allowed}. {advice}", capacity.direct
    left = capacity.allowed - capacity.used - wanted
    if left < capacity.allowed * _OTHERS:
        in_use = f"of {capacity.allowed} that the server allows, {capacity.used} are in use"
        return f"{sum_}; {in_use}, so {max(0, left)} are left for the web. {advice}", False
    return "", False
