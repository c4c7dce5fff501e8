"""Edits a job that has not begun: its arguments, queue, priority and time."""

from __future__ import annotations

import datetime
import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import DateTimeField, Value
from django.db.models.lookups import LessThanOrEqual

from .. import transitions
from ..db import clock, without_deadlock
from ..define import registry
from ..define.conversion import refuse_misfits
from ..define.envelopes import opened_call
from ..define.hidden_arguments import called_name, rules_of
from ..define.option_problems import priority_problems, queue_problems
from ..define.row_options import read
from ..define.sensitive import shown_arguments
from ..enqueue.notify import Topic, announce
from ..enqueue.rows import template
from ..exceptions import JobDoesNotExist
from ..ids import uuids
from ..limits import concurrency
from ..locking import in_order, lock_jobs, need
from ..models import Job, Reservation, Step
from ..moments import aware
from ..serialization import loads
from ..status import QUEUED, TIMED, Status
from .jobs import by_database, nothing
from .moving import elsewhere, move_locked

#: Gets the job and a text of what changed, without secrets, in the transaction of the change.
NoteEdit = Callable[[Job, str], object]
_LONGEST = 300


def edit(
    job_id: UUID | str,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    eta: datetime.datetime | None = None,
    using: str = "",
    note: NoteEdit = nothing,
) -> str:
    """Change a job that has not begun; return a text of what changed, without secrets.

    What is None stays. *args* and *kwargs* are checked as those of a new call. With an *eta* that
    is over the job runs at once. Raises ``JobDoesNotExist``; ``ValueError`` for a job that a worker
    has claimed or that has ended, and for what this job cannot have; ``TypeError`` for arguments
    that do not fit the function; ``QueueFull``. Then nothing is changed.
    """
    problems = [] if queue is None else queue_problems(queue)
    problems += [] if priority is None else priority_problems(priority)
    ((alias, (pk,)),) = [(using, uuids([job_id]))] if using else list(by_database([job_id]))
    if queue is not None and not problems:
        problems = elsewhere(queue, alias)
    for problem in problems:
        raise ValueError(problem)
    moment = None if eta is None else aware(eta, "eta")
    change = functools.partial(_edit, pk, args, kwargs, queue, priority, moment, alias, note)
    return without_deadlock(alias, functools.partial(in_order, alias, change))


def _edit(
    job_id: UUID,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    queue: str | None,
    priority: int | None,
    eta: datetime.datetime | None,
    using: str,
    note: NoteEdit,
) -> str:
    job = _locked(job_id, using)
    changes = []
    left = Counter[str]()
    if args is not None or kwargs is not None:
        changes.append(_set_call(job, args, kwargs, using))
        left = _leave_limits(job, using)
    if queue is not None or priority is not None:
        before = job.queue, job.priority
        move_locked([job.pk], queue, priority, using, nothing)
        job = _locked(job_id, using)
        names, after = ("queue", "priority"), (job.queue, job.priority)
        changes += [
            f"{name} {old} -> {new}"
            for name, old, new in zip(names, before, after, strict=True)
            if old != new
        ]
    if eta is not None:
        changes.append(_set_time(_locked(job_id, using), eta, using))
    text = "; ".join(change for change in changes if change)
    if text:
        note(job, text)
    # Last, because it locks jobs that wait for a limit.
    concurrency.wake(left, using)
    return text


def _locked(job_id: UUID, using: str) -> Job:
    """Lock the job and return all of its row; refuse one that a worker has claimed."""
    lock_jobs([job_id], using)
    job = Job.objects.using(using).filter(pk=job_id).first()
    if job is None:
        raise JobDoesNotExist(f"No job has the id {job_id}. It was deleted or pruned.")
    if job.status not in QUEUED:
        raise ValueError(
            f"Job {job_id} is {job.status}: only a job that no worker has claimed can be edited."
        )
    return job


def _update(job: Job, **columns: Any) -> None:
    """Change columns while no worker has claimed the job."""
    rows = Job.objects.using(job._state.db).filter(pk=job.pk, status__in=QUEUED)
    if not rows.filter(claims=job.claims).update(**columns):
        raise ValueError(f"Job {job.pk} was claimed by a worker, so it is not changed.")


def _set_call(
    job: Job, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, using: str
) -> str:
    function = registry.find(job.name)
    if function is None:
        raise ValueError(registry.missing(job.name))
    if job.unique_key:
        raise ValueError(
            f"Job {job.pk} has a unique key, which its arguments make. Revoke it, and enqueue "
            "another call."
        )
    known_args, known_kwargs = opened_call(job.args, job.kwargs)
    args = known_args if args is None else list(args)
    kwargs = known_kwargs if kwargs is None else dict(kwargs)
    if called_name(job.name, args, kwargs) != called_name(job.name, known_args, known_kwargs):
        # Other arguments of the other function are hidden.
        raise ValueError(
            f"Job {job.pk} calls a job function with each item, which stays. Revoke the job, and "
            "enqueue another one."
        )
    taken = 0 if read(job.options).workflow.taken_as is None else 1
    function.bind([*[None] * taken, *args], kwargs)
    if not taken:
        refuse_misfits(function, args, kwargs)
    make = template(function, {"queue": job.queue, "priority": job.priority}, job.headers or {})
    made = make(args, kwargs, taken)
    new_args, new_kwargs = loads(made.args), loads(made.kwargs)
    if (new_args, new_kwargs) == (job.args, job.kwargs):
        return ""
    before, after = _call_text(job, job.args, job.kwargs), _call_text(job, new_args, new_kwargs)
    _update(job, args=new_args, kwargs=new_kwargs, fair_key=made.fair_key)
    return f"arguments {before} -> {after}"


def _call_text(job: Job, args: Any, kwargs: Any) -> str:
    options = None if job.options is None else json.dumps(job.options)
    shown = shown_arguments(rules_of(job.name, options), args, kwargs)
    # ASCII only: the character set of the admin's log may lack other characters.
    text = json.dumps([shown.args, shown.kwargs], default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _leave_limits(job: Job, using: str) -> Counter[str]:
    """Let the job begin anew with its limits, whose keys may come from its arguments.

    Returns how many jobs each limit can wake in its place.
    """
    slots = Reservation.objects.using(using).filter(job_id=job.pk, started=False)
    keys = set(slots.values_list("key", flat=True))
    need(using, limits=keys | ({job.waiting_for} if job.waiting_for else set()))
    rows = Job.objects.using(using).filter(pk=job.pk)
    if keys:
        slots._raw_delete(using)
        rows.filter(status=Status.SCHEDULED).update(run_at=clock(using))
        announce(using, {Topic.TIMED})
    if not job.waiting_for:
        return Counter()
    rows.update(waiting_for=None)
    if transitions.wake(rows.filter(pending_parents__lte=0), clock(using)):
        announce(using, {job.queue})
    return Counter([job.waiting_for] if job.status == Status.PENDING else [])


def _set_time(job: Job, eta: datetime.datetime, using: str) -> str:
    """Let the job run at *eta*, or at once if that is over."""
    if problem := _why_no_time(job, using):
        raise ValueError(f"Job {job.pk} {problem}, so no other time can be set.")
    rows = Job.objects.using(using).filter(pk=job.pk)
    # The database's clock decides, as it does for workers.
    if rows.filter(LessThanOrEqual(Value(eta, DateTimeField()), clock(using))).exists():
        if job.status not in TIMED:
            return ""
        transitions.run_now(rows, clock(using))
        announce(using, {job.queue})
        return "time -> now"
    if job.status == Status.RETRY:
        _update(job, run_at=eta)
    else:
        transitions.delay(rows, eta)
    announce(using, {Topic.TIMED})
    return f"time -> {eta.isoformat(timespec='seconds')}"


def _why_no_time(job: Job, using: str) -> str:
    if job.status == Status.WAITING:
        return "waits for a limit, for other jobs or in a step"
    if Reservation.objects.using(using).filter(job_id=job.pk, started=False).exists():
        return "waits for its start under a rate limit"
    states = (Step.State.WAITING, Step.State.RETRY)
    if Step.objects.using(using).filter(job_id=job.pk, state__in=states).exists():
        return "waits in a step"
    return ""
