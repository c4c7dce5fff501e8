"""The reasons why jobs wait, as data: for pages, commands, JSON and errors.

:func:`waiting_reasons` takes the rows of a page. Its statements are as many for one row as for a
hundred, and each reads a number of rows that is bounded. ``waiting_text`` makes sentences of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q

from ..db import clock
from ..db.chunks import chunks
from ..define import key_values, registry
from ..define.rates import text_of
from ..exceptions import UnknownJob
from ..limits.rules import Rules, read_rules
from ..metrics.heads import heads, uuid_of
from ..metrics.waiting import Kind
from ..models import Edge, EventWait, Job, Permit, Reservation, Step
from ..status import ENDED, TIMED, Status
from .waiting_for_workers import of_claimed, of_ready, unknown_to_all
from .waiting_reason import OtherJob, WaitingReason

# Most edges, and most jobs in line, that are read for all rows of a page together.
_READ = 1_000
#: A reason names at most so many other jobs.
MOST_NAMED = 3
_UNKNOWN = f"{UnknownJob.__module__}.{UnknownJob.__qualname__}"

Reasons = dict[UUID, WaitingReason]


def waiting_reasons(jobs: Iterable[Job], using: str = "") -> Reasons:
    """Return why each of the *jobs* waits; jobs that run or have ended have no reason.

    The jobs are rows of one database, *using*. Their large columns may be deferred.
    """
    rows = [job for job in jobs if job.status not in ENDED and not job._state.adding]
    if not rows:
        return {}
    using = using or str(rows[0]._state.db)
    return {key: reason for chunk in chunks(rows) for key, reason in _of(chunk, using).items()}


def _of(rows: Sequence[Job], using: str) -> Reasons:
    waiting = [job for job in rows if job.status == Status.WAITING]
    timed = [job for job in rows if job.status in TIMED]
    due = _due(timed, using)
    ready = [job for job in rows if job.status == Status.PENDING or job.pk in due]
    after = [job for job in waiting if job.pending_parents > 0]
    in_line = [job for job in waiting if job.pending_parents <= 0 and job.waiting_for]
    asking = [job for job in waiting if job.pending_parents <= 0 and not job.waiting_for]
    return {
        **_of_parents(after, using),
        **_of_limits(in_line, using),
        **_of_events(asking, using),
        **_of_times([job for job in timed if job.pk not in due], using),
        **of_ready(ready, using),
        **of_claimed([job for job in rows if job.status == Status.STARTED], using),
    }


def _due(jobs: Sequence[Job], using: str) -> set[UUID]:
    """Return the SCHEDULED and RETRY jobs whose time has come, by the database's clock."""
    if not jobs:
        return set()
    rows = Job.objects.using(using).filter(pk__in=[job.pk for job in jobs])
    over = rows.filter(Q(run_at=None) | Q(run_at__lte=clock(using)))
    return set(over.values_list("pk", flat=True))


def _of_parents(jobs: Sequence[Job], using: str) -> Reasons:
    """Return the reasons of jobs that wait for others; the first of these are named."""
    if not jobs:
        return {}
    edges = Edge.objects.using(using).order_by("-pk").values("parent_id", "kind", "position")
    each = max(MOST_NAMED, _READ // len(jobs))
    parents: dict[UUID, list[UUID]] = {}
    children: set[UUID] = set()
    found = heads(edges, "child_id", [job.pk for job in jobs], each, using)
    for job_id, parent_id, kind, position in found:
        parents.setdefault(job_id, []).append(uuid_of(parent_id))
        if kind == Edge.Kind.COMPLETE and position < 0:
            children.add(job_id)
    every = {parent for some in parents.values() for parent in some}
    live = Job.objects.using(using).live().filter(pk__in=every)
    names: dict[UUID, str] = dict(live.values_list("pk", "name"))
    return {
        job.pk: WaitingReason(
            Kind.CHILDREN if job.pk in children else Kind.DEPENDENCIES,
            job.queue,
            number=job.pending_parents,
            jobs=_named(sorted(parents.get(job.pk, ())), names),
        )
        for job in jobs
    }


def _of_limits(jobs: Sequence[Job], using: str) -> Reasons:
    """Return the reasons of jobs in line for a permit: their places, and who holds permits."""
    if not jobs:
        return {}
    rules = read_rules(using)
    keys = list(dict.fromkeys(str(job.waiting_for) for job in jobs))
    line = Job.objects.using(using).live().order_by("rank", "id").values("pk")
    most = max(MOST_NAMED, _READ // len(keys))
    places: dict[UUID, int] = {}
    lengths: dict[str, int] = {}
    for key, job_id in heads(line, "waiting_for", keys, most, using):
        places[uuid_of(job_id)] = lengths.get(key, 0)
        lengths[key] = lengths.get(key, 0) + 1
    permits = Permit.objects.using(using).order_by("pk").values("job_id", "claims")
    holders: dict[str, list[tuple[UUID, int]]] = {}
    for key, job_id, claims in heads(permits, "key", keys, 2 * MOST_NAMED, using):
        holders.setdefault(key, []).append((uuid_of(job_id), claims))
    held = {job_id for some in holders.values() for job_id, _claims in some}
    running: Any = Job.objects.using(using).filter(pk__in=held, status=Status.STARTED)
    names = {row[:2]: row[2] for row in running.values_list("pk", "claims", "name")}
    found = {}
    for job in jobs:
        key = str(job.waiting_for)
        place = places.get(job.pk)
        named = [OtherJob(one[0], names[one]) for one in holders.get(key, ()) if one in names]
        found[job.pk] = WaitingReason(
            Kind.CONCURRENCY,
            job.queue,
            **_limit(key, job, rules, "concurrency"),
            position=lengths.get(key, 0) if place is None else place,
            is_capped=place is None,
            jobs=tuple(named[:MOST_NAMED]),
        )
    return found


def _of_events(jobs: Sequence[Job], using: str) -> Reasons:
    if not jobs:
        return {}
    rows = EventWait.objects.using(using).filter(job_id__in=[job.pk for job in jobs])
    waits = {wait.job_id: wait for wait in rows.order_by("-pk")}
    return {
        job.pk: WaitingReason(
            Kind.EVENT if wait is None or wait.name else Kind.APPROVAL,
            job.queue,
            subject=wait.name if wait else "",
            step=wait.key if wait else "",
            until=wait.until if wait else None,
        )
        for job in jobs
        for wait in [waits.get(job.pk)]
    }


def _of_times(jobs: Sequence[Job], using: str) -> Reasons:
    """Return the reasons of jobs whose time is in the future."""
    if not jobs:
        return {}
    ids = [job.pk for job in jobs]
    slots = Reservation.objects.using(using).filter(job_id__in=ids, started=False)
    keys: dict[UUID, str] = dict(slots.values_list("job_id", "key"))
    states = (Step.State.RETRY, Step.State.WAITING)
    rows = Step.objects.using(using).filter(job_id__in=ids, state__in=states)
    steps = {step.job_id: step for step in rows.only("job_id", "key", "kind", "state")}
    lost = {job.name for job in jobs if job.is_deferred and job.error_class == _UNKNOWN}
    unknown = unknown_to_all(lost, using)
    rules = read_rules(using) if keys else Rules()
    found = {}
    for job in jobs:
        step, more = steps.get(job.pk), dict[str, Any]()
        if job.pk in keys:
            kind, more = Kind.RATE, _limit(keys[job.pk], job, rules, "rate_limit")
        elif job.is_deferred:
            kind = Kind.UNKNOWN_FUNCTION if job.name in unknown else Kind.DEFERRED
            more = {"subject": job.name if job.name in unknown else job.error_class}
        elif job.status == Status.RETRY:
            kind, more = Kind.RETRY, {"subject": job.error_class}
        elif step is not None:
            is_error = step.state == Step.State.RETRY
            kind, more = Kind.STEP_RETRY if is_error else Kind.SLEEP, {"step": step.key}
        else:
            kind = Kind.TIME
        found[job.pk] = WaitingReason(kind, job.queue, until=job.run_at, **more)
    return found


def _limit(key: str, job: Job, rules: Rules, option: str) -> dict[str, Any]:
    """Return the fields of a reason about the limit *key* of a job."""
    if key == key_values.of_queue(job.queue):
        bound, name, per = rules.queues.get(job.queue), "", ""
    else:
        bound, name = rules.of_key(key, job.name), job.name
        per = _per(job.name, option) if key != key_values.of_function(job.name) else ""
    if bound is None:
        text = ""
    elif option == "concurrency":
        text = str(bound.permits or "")
    else:
        text = text_of(bound.windows)
    return {"limit": text, "subject": name, "per": per, "key": key}


def _per(name: str, option: str) -> str:
    """Return the parameters by whose values jobs have limits of their own, as text."""
    function = registry.find(name)
    wanted = getattr(function.options, f"{option}_key", None) if function else None
    return "" if wanted is None or callable(wanted) else ", ".join(wanted)


def _named(ids: Iterable[UUID], names: Mapping[UUID, str]) -> tuple[OtherJob, ...]:
    return tuple([OtherJob(pk, names[pk]) for pk in ids if pk in names][:MOST_NAMED])
