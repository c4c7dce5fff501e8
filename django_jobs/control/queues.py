"""Operations on queues: pause, resume, clear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from ..db import clock
from ..define.option_problems import queue_problems
from ..define.routing import database_of
from ..enqueue.notify import announce
from ..models import Job, Queue

# Most jobs that one transaction deletes.
_CHUNK = 500


def pause_queue(name: str, *, by: str = "", using: str = "") -> bool:
    """Pause a queue: workers claim no more jobs of it. Return False when it already was paused.

    Workers still run the jobs that they have claimed. *by* names the person for the admin, up to
    150 characters. *using* is the database's alias, by default that of the queue. Raises
    ``ValueError`` for an invalid name.
    """
    using = using or database_of(name)
    for problem in queue_problems(name):
        raise ValueError(problem)
    rows = Queue.objects.using(using)
    rows.bulk_create([Queue(name=name)], ignore_conflicts=True)
    running = rows.filter(name=name, paused_at=None)
    return bool(running.update(paused_at=clock(using), paused_by=by[:150]))


def resume_queue(name: str, *, using: str = "") -> bool:
    """Resume a queue and wake its workers; return False when it was not paused."""
    using = using or database_of(name)
    with transaction.atomic(using):
        paused = Queue.objects.using(using).filter(name=name).exclude(paused_at=None)
        resumed = bool(paused.update(paused_at=None, paused_by=""))
        if resumed:
            announce(using, {name})
    return resumed


def clear_queue(
    name: str, *, using: str = "", note: Callable[[int], object] = lambda number: None
) -> int:
    """Delete the ready jobs of a queue; return how many. *note* gets the number of each batch.

    Jobs with dependents stay: without them the dependents would wait forever.
    """
    using = using or database_of(name)
    jobs: Any = Job.objects.using(using)
    ready = jobs.ready().filter(queue=name, has_dependents=False)
    skips = connections[using].features.has_select_for_update_skip_locked
    deleted, ids = 0, [None]
    while ids:
        with transaction.atomic(using):
            batch = ready.order_by("rank", "pk").select_for_update(skip_locked=skips)
            ids = list(batch.values_list("pk", flat=True)[:_CHUNK])
            jobs.filter(pk__in=ids).delete()
        deleted += len(ids)
        note(len(ids))
    return deleted
