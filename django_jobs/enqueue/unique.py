"""Unique keys: at most one live job has a key."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections

from .. import serialization, transitions
from ..conf import get_settings
from ..db import clock, dialect_for
from ..define import registry
from ..define.key_values import digest, value_of
from ..exceptions import DuplicateKey
from ..models import Approval, Edge, EventWait, Job, Step, UniqueKey
from ..serialization import loads
from ..status import ENDED, Status
from ..values import NewJob

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from ..define.options import JobOptions


def key_of(
    function: JobFunction[..., Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str:
    """Return the unique key of a call, 64 hex digits."""
    same = value_of(function, "unique_key", function.options.unique_key, args, kwargs)
    limit = get_settings().max_payload_bytes
    text = serialization.canonical(same, where="unique_key", max_bytes=limit)
    return digest(f"{function.name}\0{text}")


def hold_keys(
    rows: Sequence[NewJob], using: str, *, in_workflow: bool
) -> tuple[list[NewJob], list[UUID], list[NewJob]]:
    """Acquire the unique keys of *rows*, inside a transaction if any row has one.

    Returns the rows to write, the ids of all, and the rows that live jobs took over. A call whose
    key a live job holds is left out, and its id is the live job's; with ``unique="raise"``
    :class:`DuplicateKey` is raised instead, and also for a row of a workflow.
    """
    first: dict[str, NewJob] = {}
    latest: dict[str, NewJob] = {}
    for row in rows:
        if row.unique_key:
            latest[row.unique_key] = row
            first.setdefault(row.unique_key, row)
    if not first:
        return list(rows), [row.id for row in rows], []
    # All callers lock keys in the same order, against deadlocks.
    holders = {
        key: acquire_key(key, first[key].id, _options(first[key]).unique_for, using)
        for key in sorted(first)
    }
    changed: list[NewJob] = []
    replaces = not in_workflow and _options(rows[0]).unique == "replace"
    if replaces:
        changed = _give_to_holders(holders, first, latest, using)
    new: list[NewJob] = []
    ids: list[UUID] = []
    for row in rows:
        key = row.unique_key
        if not key or (holders[key] is None and row is first[key]):
            # The last of several calls wins, by the first one's id.
            new.append(latest[key]._replace(id=row.id) if key and replaces else row)
            ids.append(row.id)
            continue
        holder = holders[key] or first[key].id
        _refuse_duplicate(row, holder, in_workflow)
        ids.append(holder)
    return new, ids, changed


def _options(row: NewJob) -> JobOptions:
    return registry.get(row.name).options


def _refuse_duplicate(row: NewJob, holder: UUID, in_workflow: bool) -> None:
    """Raise :class:`DuplicateKey` unless the call of *row* may be the job *holder*."""
    live = f"{row.name} with these arguments is live as job {holder}"
    if in_workflow:
        raise DuplicateKey(
            f"{live}, and a workflow cannot wait for a job that is not its own. Enqueue it when "
            "that one has ended."
        )
    if _options(row).unique == "raise":
        raise DuplicateKey(f"{live}. Wait for its end, or revoke it.")


def _give_to_holders(
    holders: dict[str, UUID | None],
    first: Mapping[str, NewJob],
    latest: Mapping[str, NewJob],
    using: str,
) -> list[NewJob]:
    """Give the latest calls to the live jobs that hold their keys; return these calls.

    A running job cannot change: its key goes to the new job, and *holders* has None for it.
    """
    changed: list[NewJob] = []
    # The keys are locked, in their order; the jobs are locked in theirs.
    for key, holder in sorted(holders.items(), key=lambda each: each[1] or UUID(int=0)):
        if holder is not None and _give(holder, latest[key], using):
            _keep_until(latest[key], holder, using)
            changed.append(latest[key])
        elif holder is not None and _is_live(holder, using):
            _keep_until(latest[key], first[key].id, using)
            holders[key] = None
    return changed


def _is_live(job_id: UUID, using: str) -> bool:
    return Job.objects.using(using).live().filter(id=job_id).exists()


def _keep_until(row: NewJob, job_id: UUID, using: str) -> None:
    """Let the job with *job_id* hold the key of *row*."""
    until = _until(_options(row).unique_for, using)
    UniqueKey.objects.using(using).filter(key=row.unique_key).update(job_id=job_id, until=until)


def _until(seconds: float | None, using: str) -> Any:
    return None if seconds is None else clock(using, seconds)


def _give(job_id: UUID, row: NewJob, using: str) -> bool:
    """Let a job that has not begun, and is in no workflow, be what *row* says; else False."""
    alone = Job.objects.using(using).filter(
        id=job_id, pending_parents=0, has_dependents=False, group_id=None
    )
    if Edge.objects.using(using).filter(child_id=job_id).exists():
        return False
    now = clock(using)
    changed = transitions.take_over(
        alone,
        row.status,
        queue=row.queue,
        rank=row.rank,
        fair_key=row.fair_key,
        args=loads(row.args),
        kwargs=loads(row.kwargs),
        headers=None if row.headers is None else loads(row.headers),
        options=None if row.options is None else loads(row.options),
        run_at=_moment(row.eta, row.countdown, using),
        expires_at=_moment(row.expires_at, row.expires_in, using),
        ready_at=now if row.status == Status.PENDING else None,
    )
    if changed:
        # It may have been suspended, and its steps were those of another call.
        for rows in (Step, EventWait, Approval):
            rows.objects.using(using).filter(job_id=job_id)._raw_delete(using)
    return changed == 1


def _moment(given: datetime.datetime | None, seconds: float | None, using: str) -> Any:
    return given or _until(seconds, using)


def acquire_again(job: Job, using: str) -> bool:
    """Acquire the unique key of an ended job, in a transaction; False if a live job has it."""
    if not job.unique_key:
        return True
    function = registry.find(job.name)
    seconds = function.options.unique_for if function else None
    return acquire_key(job.unique_key, job.pk, seconds, using) is None


def acquire_key(key: str, job_id: UUID, seconds: float | None, using: str) -> UUID | None:
    """Acquire *key* for a job, in a transaction; return the job that holds it instead, or None."""
    keys = UniqueKey.objects.using(using)
    until = _until(seconds, using)
    connection = connections[using]
    dialect = dialect_for(connection)
    # On a conflict this waits for the other transaction, so that the next statements see its rows.
    with connection.cursor() as cursor:
        dialect.hold_key(cursor, key, job_id, "NULL" if seconds is None else dialect.after(seconds))
    held = keys.select_for_update().get(key=key)
    if held.job_id == job_id:
        return None
    holder = Job.objects.using(using).filter(id=held.job_id)
    if holder.exclude(status__in=ENDED).exists():
        return held.job_id
    kept = keys.filter(key=key, until__gt=clock(using))
    if kept.exists() and holder.filter(status=Status.SUCCESS).exists():
        return held.job_id
    keys.filter(key=key).update(job_id=job_id, until=until)
    return None
