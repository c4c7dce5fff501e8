"""Runs ended jobs again, from the step where they broke, from another one or from the start."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from django.utils.translation import gettext_noop

from .. import transitions
from ..db import clock, without_deadlock
from ..enqueue.notify import announce
from ..enqueue.unique import acquire_again
from ..ids import uuids
from ..locking import in_order, lock_jobs, need
from ..models import Job
from ..status import Status
from ..steps import operating
from ..workflows.reopen import around, reopen, why_not
from .jobs import Note, by_database, nothing


def retry(
    ids: Sequence[UUID | str],
    *,
    from_step: str | None = None,
    from_start: bool = False,
    using: str = "",
    note: Note = nothing,
) -> tuple[int, dict[str, int]]:
    """Make ended jobs pending again, with all their retries.

    A job that failed or was revoked goes on from its first step that is not done. With *from_step*,
    the key of a step, that step and all later ones are forgotten. A job that succeeded begins from
    the start, and with *from_start* every job does: all its steps are forgotten.

    Returns how many were, and a dict of the skipped: the reason, and how many jobs it concerns. It
    skips a job that has not ended, one whose unique key another live job holds, one that depends on
    a job that did not succeed, and one without the step *from_step*. Jobs that failed because of
    this one wait for it again. *ids*, *using* and the errors are those of :func:`.revoke`; *note*
    is called in the transaction of each job.
    """
    if not using:
        parts = [
            retry(some, from_step=from_step, from_start=from_start, using=alias, note=note)
            for alias, some in by_database(ids)
        ]
        reasons = sum((Counter(skipped) for _done, skipped in parts), Counter[str]())
        return sum(done for done, _skipped in parts), dict(reasons)
    skipped: dict[str, int] = {}
    queues: set[str] = set()
    done = 0
    for job_id in uuids(ids):
        key = "" if from_start else from_step
        queue, reason = without_deadlock(using, functools.partial(_retry, job_id, key, using, note))
        if reason:
            skipped[reason] = skipped.get(reason, 0) + 1
        else:
            queues.add(queue)
            done += 1
    if queues:
        announce(using, queues)
    return done, skipped


def _retry(job_id: UUID, step: str | None, using: str, note: Note) -> tuple[str, str]:
    """Make one job pending; return its queue, or "" and the reason why it was skipped.

    It forgets the steps from the key *step* on, or all for "".
    """

    def again() -> str:
        ids = around(job_id, using) if has_dependents else {job_id}
        locked = {job.pk: job for job in lock_jobs(ids, using)}
        job = locked.get(job_id)
        reason = _why_not_retry(job, using)
        if job is None or reason:
            raise _Refused(reason)
        if job.has_dependents and (reason := reopen(job, using)):
            raise _Refused(reason)
        if reason := _forget(job, step, using):
            raise _Refused(reason)
        transitions.retry(rows, clock(using))
        if job.pending_parents > 0:
            transitions.wait_again(rows)
        note([job])
        return job.queue

    rows = Job.objects.using(using).filter(id=job_id)
    key, has_dependents = rows.values_list("unique_key", "has_dependents").first() or ("", False)
    try:
        return in_order(using, again, keys=[key] if key else ()), ""
    except _Refused as refused:
        return "", refused.reason


def _forget(job: Job, step: str | None, using: str) -> str:
    """Forget the steps of a job from the key *step* on; return why that is impossible, or ""."""
    if step == "" or (step is None and job.status == Status.SUCCESS):
        operating.forget(job.pk, using)
    elif step is not None:
        position = operating.position_of(job.pk, step, using)
        if position is None:
            return gettext_noop("has no such step")
        operating.forget(job.pk, using, position=position)
    operating.try_anew(job.pk, using)
    return ""


class _Refused(Exception):
    """The job is skipped: the transaction is rolled back."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _why_not_retry(job: Job | None, using: str) -> str:
    if job is None:
        return gettext_noop("gone")
    if not job.has_ended:
        return f"is {job.status.lower()}"
    if reason := why_not(job, using):
        return reason
    if job.unique_key:
        need(using, keys=[job.unique_key])
        if not acquire_again(job, using):
            return gettext_noop("another live job holds its unique key")
    return ""
