"""Runs ended jobs again, from the step where they broke, from another one or from the start."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_noop

from .. import transitions
from ..db import clock, without_deadlock
from ..db.chunks import chunks
from ..enqueue.notify import announce
from ..enqueue.unique import acquire_again
from ..ids import uuids
from ..limits import concurrency
from ..locking import in_order, lock_jobs, need
from ..models import Job, Step
from ..status import ENDED, Status
from ..steps import operating
from ..workflows.reopen import around, reopen, why_not
from ..workflows.upstream import UPSTREAM_FAILED, origin_of
from .jobs import Note, by_database, nothing

#: Why jobs were skipped whose root causes were retried.
REPLACED = gettext_noop("failed with a job that they depend on, which was retried in their place")
_rounds = itertools.count(1)
_round = 0


def retry_round() -> int:
    """Return a number that grows when this process retries jobs: earlier reads are then stale."""
    return _round


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
    is called in each transaction with the jobs that it changes, again when it is repeated.
    """
    if not using:
        parts = [
            retry(some, from_step=from_step, from_start=from_start, using=alias, note=note)
            for alias, some in by_database(ids)
        ]
        reasons = sum((Counter(skipped) for _done, skipped in parts), Counter[str]())
        return sum(done for done, _skipped in parts), dict(reasons)
    skipped = Counter[str]()
    queues: set[str] = set()
    done = 0
    key = "" if from_start else from_step
    for chunk in chunks(list(dict.fromkeys(uuids(ids)))):
        changed = _retry_all(chunk, key, using, note, skipped)
        done += len(changed)
        queues.update(changed.values())
    if done:
        _begin_round()
    if queues:
        announce(using, queues)
    return done, dict(skipped)


def _begin_round() -> None:
    global _round
    _round = next(_rounds)


def _retry_all(
    ids: Sequence[UUID], step: str | None, using: str, note: Note, skipped: Counter[str]
) -> dict[UUID, str]:
    """Retry the jobs, plain ones together; return the queues of those that were."""
    done: dict[UUID, str] = {}
    left = ids
    if len(ids) > 1 and not step:
        plain = functools.partial(_retry_plain, ids, using, note)
        done = without_deadlock(using, functools.partial(in_order, using, plain))
        left, reasons = _left([each for each in ids if each not in done], using)
        skipped.update(reasons)
    for job_id in left:
        one = functools.partial(_retry, job_id, step, using, note)
        queue, reason = without_deadlock(using, one)
        if reason:
            skipped[reason] += 1
        else:
            done[job_id] = queue
    return done


def with_root_causes(
    ids: Sequence[UUID],
    using: str,
    seen: QuerySet[Any] | None = None,
    consequences: Sequence[UUID] | None = None,
) -> tuple[list[UUID], int]:
    """Return *ids* with the root causes in place of the jobs that failed because of them.

    The number says how many jobs were replaced. They wait again as soon as their cause is retried.
    With *seen*, only causes among these rows replace others. *consequences* are the jobs that
    failed because of others, for a caller who has read them.
    """
    causes: dict[UUID, UUID] = {}
    for chunk in chunks(ids if consequences is None else consequences):
        rows = Job.objects.using(using).filter(pk__in=chunk, error_class=UPSTREAM_FAILED)
        for job_id, message in rows.values_list("pk", "error_message"):
            if (cause := origin_of(message)) is not None:
                causes[job_id] = cause
    if seen is not None and causes:
        known: set[UUID] = set()
        for some in chunks(sorted({*causes.values()} - {*ids})):
            known.update(seen.order_by().filter(pk__in=some).values_list("pk", flat=True))
        known.update(ids)
        causes = {job_id: cause for job_id, cause in causes.items() if cause in known}
    return list(dict.fromkeys(causes.get(each, each) for each in ids)), len(causes)


def _retry_plain(ids: Sequence[UUID], using: str, note: Note) -> dict[UUID, str]:
    """Make those of the ended jobs pending whose retry changes nothing but their rows.

    They have no dependents, no parents to wait for, no unique key and no steps. Returns their
    queues.
    """
    has_steps = Exists(Step.objects.using(using).filter(job_id=OuterRef("pk")))
    rows = Job.objects.using(using).filter(
        ~has_steps, id__in=ids, status__in=ENDED, has_dependents=False, pending_parents__lte=0,
        unique_key=None, waiting_for=None,
    )  # fmt: skip
    locked = rows.order_by("id").select_for_update()
    found = list(locked.only("name", "queue", "status", "claims"))
    if found:
        again = Job.objects.using(using).filter(id__in=[job.pk for job in found])
        # While this waited for a lock, a job may have run once more and recorded steps.
        if transitions.retry(again.filter(~has_steps), clock(using)) < len(found):
            stepped = set(again.filter(has_steps).values_list("pk", flat=True))
            found = [job for job in found if job.pk not in stepped]
    if found:
        note(found)
    return {job.pk: job.queue for job in found}


def _left(ids: Sequence[UUID], using: str) -> tuple[list[UUID], Counter[str]]:
    """Return those of the jobs that have ended, and the reasons to skip the others."""
    rows = Job.objects.using(using).filter(pk__in=ids)
    statuses: dict[UUID, str] = dict(rows.values_list("pk", "status")) if ids else {}
    reasons = Counter[str]()
    for job_id in ids:
        status = statuses.get(job_id)
        if status not in ENDED:
            reasons[f"is {status.lower()}" if status else gettext_noop("gone")] += 1
    return [job_id for job_id in ids if statuses.get(job_id) in ENDED], reasons


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
        _pass_permits_on(locked.values(), using)
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


def _pass_permits_on(before: Iterable[Job], using: str) -> None:
    """Let dependents that were woken, and wait for a parent again, pass their permits on."""
    woken = {
        job.pk: job.waiting_for
        for job in before
        if job.status == Status.PENDING and job.waiting_for
    }
    left = Counter[str]()
    for chunk in chunks(sorted(woken)):
        rows = Job.objects.using(using).filter(id__in=chunk, waiting_for=None)
        left.update(woken[job_id] for job_id in rows.values_list("id", flat=True))
    if left:
        need(using, limits=left)
        concurrency.wake(left, using)


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
