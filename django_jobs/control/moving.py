"""Jobs that have not begun go to another queue, or get another priority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_noop

from ..db import clock
from ..db.base import chunks
from ..define import key_values
from ..enqueue.insert import refuse_when_full
from ..enqueue.notify import Topic, announce
from ..limits import concurrency
from ..locking import lock_jobs, need
from ..models import Job, Reservation
from ..status import QUEUED, Status


def move(
    ids: Sequence[UUID],
    queue: str | None,
    priority: int | None,
    using: str,
    note: Callable[[Sequence[Job]], object],
) -> tuple[int, dict[str, int]]:
    """Move jobs inside :func:`~django_jobs.locking.in_order`; return how many, and the skipped.

    Raises ``QueueFull`` when *queue* may not hold them.
    """
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
    note(changed)
    # Last, as it locks jobs in line for a limit.
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
    """Free what the jobs hold under the limits of their old queues, and wake the new queue.

    Returns how many places of each limit go to the next in line: those that jobs were woken for.
    """
    own = {job.pk: key_values.of_queue(job.queue) for job in moved}
    in_line = [job for job in moved if job.waiting_for == own[job.pk]]
    slots = _slots(own, using)
    need(using, limits={own[job.pk] for job in in_line} | {own[pk] for pk in slots.values()})
    waiting = [job.pk for job in in_line if job.status == Status.WAITING]
    # Its time was that of its slot: it comes for one of the new queue at once.
    timed = {job.pk for job in moved if job.status == Status.SCHEDULED} & {*slots.values()}
    ready = {job.pk for job in moved if job.status == Status.PENDING} | {*waiting}
    if ready:
        refuse_when_full(queue, len(ready), using)
    for chunk in chunks(list(slots)):
        Reservation.objects.using(using).filter(pk__in=chunk)._raw_delete(using)
    _update([job.pk for job in in_line], using, waiting_for=None)
    _update(waiting, using, status=Status.PENDING, ready_at=clock(using))
    _update(list(timed), using, run_at=clock(using))
    topics = ({queue} if ready else set()) | ({Topic.TIMED} if timed else set())
    if topics:
        announce(using, topics)
    return Counter(own[job.pk] for job in in_line if job.status == Status.PENDING)


def _slots(own: dict[UUID, str], using: str) -> dict[int, UUID]:
    """Return the ids of the slots that jobs have under the rates of their queues."""
    found: dict[int, UUID] = {}
    for chunk in chunks(list(own)):
        rows = Reservation.objects.using(using).filter(job_id__in=chunk, started=False)
        values = rows.values_list("pk", "job_id", "key")
        found |= {pk: job_id for pk, job_id, key in values if key == own[job_id]}
    return found


def _update(ids: Sequence[UUID], using: str, **columns: Any) -> None:
    for chunk in chunks(ids):
        Job.objects.using(using).filter(pk__in=chunk).update(**columns)
