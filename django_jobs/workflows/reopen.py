"""Lets the dependents of a job wait for it again, when an operator retries it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import F
from django.utils.translation import gettext_noop

from .. import transitions
from ..db import dialect_for
from ..db.chunks import chunks
from ..enqueue.unique import acquire_again
from ..locking import lock_jobs, need
from ..models import Edge, Job
from ..status import Status
from .upstream import UPSTREAM_FAILED, upstream_message

#: Jobs with these statuses have no result that a dependent could take.
LOST = (Status.FAILURE, Status.REVOKED)


def why_not(job: Job, using: str) -> str:
    """Return why the parents of an ended job keep it from running again, or ""."""
    if job.pending_parents > 0 and _parents(job.pk, using).filter(status__in=LOST).exists():
        return gettext_noop("depends on a job that did not succeed: retry that one")
    return ""


def around(job_id: UUID, using: str) -> set[UUID]:
    """Return the ids of a job and of all jobs that its retry may read or change, to lock them."""
    connection = connections[using]
    with connection.cursor() as cursor:
        edges = dialect_for(connection).below(cursor, [job_id])
    below = {job_id, *(child for _parent, child in edges)}
    near = Edge.objects.using(using)
    found = set(below)
    for chunk in chunks(sorted(below)):
        found.update(near.filter(parent_id__in=chunk).values_list("child_id", flat=True))
        # The parents of the job itself have ended.
        into = near.filter(child_id__in=set(chunk) - {job_id}, kind=Edge.Kind.RESULT)
        found.update(into.values_list("parent_id", flat=True))
    return found


def reopen(job: Job, using: str) -> str:
    """Let the dependents of an ended *job* wait for it again, because it is about to run again.

    Dependents that failed only because of it become WAITING. Returns why that is impossible, or "".
    Call it in a transaction that has locked all jobs :func:`around` the job.
    """
    reopened: list[UUID] = []
    if job.status == Status.SUCCESS:
        _count_up([job.pk], Edge.Kind.RESULT, using)
    else:
        connection = connections[using]
        with connection.cursor() as cursor:
            edges = dialect_for(connection).below(cursor, [job.pk])
        below = _locked({child for _parent, child in edges}, using)
        failed = {each for each, row in below.items() if row.error_class == UPSTREAM_FAILED}
        reopened, blocked = _split(job.pk, edges, failed, below, using)
        keys = [below[job_id].unique_key for job_id in reopened]
        need(using, keys=[key for key in keys if key])
        for job_id in reopened:
            if not acquire_again(below[job_id], using):
                return gettext_noop(
                    "another live job holds the unique key of one that depends on it"
                )
        for chunk in chunks(reopened):
            transitions.reopen(Job.objects.using(using).filter(id__in=chunk))
        for job_id, origin in blocked:
            rows = Job.objects.using(using).filter(id=job_id)
            rows.update(error_message=_message(origin))
    _count_up([job.pk, *reopened], Edge.Kind.COMPLETE, using)
    return ""


def _locked(ids: Iterable[UUID], using: str) -> dict[UUID, Job]:
    return {row.pk: row for row in lock_jobs(ids, using)}


def _split(
    job_id: UUID,
    edges: Sequence[tuple[UUID, UUID]],
    failed: set[UUID],
    below: dict[UUID, Job],
    using: str,
) -> tuple[list[UUID], list[tuple[UUID, Job]]]:
    """Return the *failed* jobs that may wait again, and the others with the job that keeps them."""
    parents: dict[UUID, list[UUID]] = {}
    for chunk in chunks(sorted(failed)):
        into = Edge.objects.using(using).filter(child_id__in=chunk, kind=Edge.Kind.RESULT)
        for parent, child in into.values_list("parent_id", "child_id"):
            parents.setdefault(child, []).append(parent)
    # Read them after all below are locked: a job that fails later finds those WAITING.
    others = {parent for several in parents.values() for parent in several} - below.keys()
    known = below | _locked(others - {job_id}, using)
    children: dict[UUID, list[UUID]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    blocker = {
        child: known[parent]
        for child in failed
        for parent in parents.get(child, ())
        if parent in known and parent not in failed and known[parent].status in LOST
    }
    reached = list(blocker)
    while reached:
        origin = blocker[parent := reached.pop()]
        for child in children.get(parent, ()):
            if child in failed and child not in blocker:
                blocker[child] = origin
                reached.append(child)
    return sorted(failed - blocker.keys()), list(blocker.items())


def _count_up(ids: Sequence[UUID], kind: str, using: str) -> None:
    more = Counter[UUID]()
    for chunk in chunks(ids):
        edges = Edge.objects.using(using).filter(parent_id__in=chunk, kind=kind)
        more.update(edges.values_list("child_id", flat=True))
    for child, number in sorted(more.items()):
        job = Job.objects.using(using).filter(id=child)
        job.update(pending_parents=F("pending_parents") + number)
        # It may have become ready, or wait for a limit.
        transitions.wait_again(job)


def _parents(job_id: UUID, using: str) -> Any:
    edges = Edge.objects.using(using).filter(child_id=job_id, kind=Edge.Kind.RESULT)
    return Job.objects.using(using).filter(id__in=edges.values("parent_id"))


def _message(origin: Job) -> str:
    if origin.error_class == UPSTREAM_FAILED:
        return origin.error_message
    return upstream_message(
        origin.pk, origin.name, origin.status, origin.error_class, origin.error_message
    )
