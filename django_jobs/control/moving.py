"""Moves jobs that have not begun to another queue or priority."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_noop

from .. import transitions
from ..db import clock, without_deadlock
from ..db.chunks import chunks
from ..define import key_values
from ..define.fairness import fair_queues, key_of_row
from ..define.option_problems import priority_problems, queue_problems
from ..define.routing import database_of
from ..enqueue.insert import refuse_when_full
from ..enqueue.notify import Topic, announce
from ..ids import uuids
from ..limits import concurrency
from ..locking import in_order, lock_jobs, need
from ..models import Job, Reservation
from ..status import QUEUED, Status
from .jobs import Note, by_database, nothing


def move(
    ids: Sequence[UUID | str],
    *,
    queue: str | None = None,
    priority: int | None = None,
    using: str = "",
    note: Note = nothing,
) -> tuple[int, dict[str, int]]:
    """Move jobs that have not begun to *queue*, to *priority*, or both.

    Returns how many were moved, and a dict of the skipped: the reason, and how many jobs it
    concerns. The limits of the new queue apply to the moved jobs. *ids*, *using* and *note* are
    those of :func:`revoke`. Raises ``ValueError`` for an invalid queue or priority and for a queue
    on another database, ``QueueFull`` when the jobs exceed the queue's ``MAX_PENDING``. In both
    cases it moves no job of that database.
    """
    problems = [] if queue is None else queue_problems(queue)
    problems += [] if priority is None else priority_problems(priority)
    if queue is None and priority is None:
        problems = ["Give queue, priority or both."]
    parts = [(using, uuids(ids))] if using else list(by_database(ids))
    for alias, _some in parts:
        if queue is not None and not problems:
            problems += elsewhere(queue, alias)
    for problem in problems:
        raise ValueError(problem)
    done, skipped = 0, Counter[str]()
    for alias, some in parts:
        action = functools.partial(move_locked, some, queue, priority, alias, note)
        number, others = without_deadlock(alias, functools.partial(in_order, alias, action))
        done += number
        skipped.update(others)
    return done, dict(skipped)


def elsewhere(queue: str, using: str) -> list[str]:
    """Return why a job on *using* cannot get into *queue*, if that is on another database."""
    if using == database_of(queue):
        return []
    where = f"Queue {queue!r} lives on database {database_of(queue)!r}, and the job on {using!r}."
    return [f"{where} Name a queue of the same database."]


def move_locked(
    ids: Sequence[UUID],
    queue: str | None,
    priority: int | None,
    using: str,
    note: Callable[[Sequence[Job]], object],
) -> tuple[int, dict[str, int]]:
    """Move jobs as :func:`move` does, inside of :func:`.locking.in_order`."""
    found = lock_jobs(ids, using, statuses=QUEUED)
    skipped = _not_queued({*ids} - {job.pk for job in found}, using)
    changed = [
        job
        for job in found
        if queue not in (None, job.queue) or priority not in (None, job.priority)
    ]
    if len(changed) < len(found):
        skipped[gettext_noop("is there already")] += len(found) - len(changed)
    moved = [job for job in changed if queue not in (None, job.queue)]
    woken = _leave_limits(moved, queue or "", using)
    columns: dict[str, Any] = {} if queue is None else {"queue": queue}
    if priority is not None:
        columns["priority"] = priority
    _update([job.pk for job in changed], using, **columns)
    _set_keys(moved, queue or "", using)
    note(changed)
    # Last, because it locks jobs that wait for a limit.
    concurrency.wake(woken, using)
    return len(changed), dict(skipped)


def _not_queued(ids: Iterable[UUID], using: str) -> Counter[str]:
    skipped: Counter[str] = Counter()
    left = sorted(ids)
    for chunk in chunks(left):
        rows = Job.objects.using(using).filter(pk__in=chunk).only("status")
        skipped.update(f"is {job.get_status_display()}" for job in rows)
    if gone := len(left) - skipped.total():
        skipped[gettext_noop("gone")] = gone
    return skipped


def _leave_limits(moved: Sequence[Job], queue: str, using: str) -> Counter[str]:
    """Release what the jobs hold of the limits of their old queues, and wake the new queue.

    Returns how many waiting jobs each old limit can wake: a moved job that was already woken for a
    slot does not use it.
    """
    own = {job.pk: key_values.of_queue(job.queue) for job in moved}
    in_line = [job for job in moved if job.waiting_for == own[job.pk]]
    reserved = _reservations(own, using)
    need(using, limits={own[job.pk] for job in in_line} | {own[pk] for pk in reserved.values()})
    waiting = [job.pk for job in in_line if job.status == Status.WAITING]
    # A job with a reservation was scheduled for its window. In the new queue it is due at once.
    timed = {job.pk for job in moved if job.status == Status.SCHEDULED} & {*reserved.values()}
    ready = {job.pk for job in moved if job.status == Status.PENDING} | {*waiting}
    if ready:
        refuse_when_full(queue, len(ready), using)
    for chunk in chunks(list(reserved)):
        Reservation.objects.using(using).filter(pk__in=chunk)._raw_delete(using)
    _update([job.pk for job in in_line], using, waiting_for=None)
    for some in chunks(waiting):
        transitions.wake(Job.objects.using(using).filter(pk__in=some), clock(using))
    _update(list(timed), using, run_at=clock(using))
    topics = ({queue} if ready else set()) | ({Topic.TIMED} if timed else set())
    if topics:
        announce(using, topics)
    return Counter(own[job.pk] for job in in_line if job.status == Status.PENDING)


def _set_keys(moved: Sequence[Job], queue: str, using: str) -> None:
    """Give the jobs the keys by which they take turns in their new queue, if it is fair."""
    fairness = fair_queues().get(queue)
    if fairness is None:
        _update([job.pk for job in moved if job.fair_key is not None], using, fair_key=None)
        return
    for chunk in chunks([job.pk for job in moved]):
        jobs = list(Job.objects.using(using).filter(pk__in=chunk))
        for job in jobs:
            job.fair_key = key_of_row(fairness, job)
        Job.objects.using(using).bulk_update(jobs, ["fair_key"])


def _reservations(own: dict[UUID, str], using: str) -> dict[int, UUID]:
    """Return the ids of the reservations that jobs hold in the rate limits of their queues."""
    found: dict[int, UUID] = {}
    for chunk in chunks(list(own)):
        rows = Reservation.objects.using(using).filter(job_id__in=chunk, started=False)
        values = rows.values_list("pk", "job_id", "key")
        found |= {pk: job_id for pk, job_id, key in values if key == own[job_id]}
    return found


def _update(ids: Sequence[UUID], using: str, **columns: Any) -> None:
    for chunk in chunks(ids):
        Job.objects.using(using).filter(pk__in=chunk).update(**columns)
