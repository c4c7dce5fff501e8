"""Encrypts what is stored anew, after a change of ``ENCRYPTION_KEYS``."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q, TextField, Value

from ..db import without_deadlock
from ..define.canvas import opened_errback
from ..define.envelopes import (
    MARK,
    is_envelope,
    json_of,
    opened_call,
    opened_progress,
    refuse_without_keys,
    renewed,
)
from ..define.routing import databases
from ..exceptions import EncryptionError
from ..locking import in_order, lock_jobs
from ..models import Job, Step

# Jobs that one transaction locks and changes.
_BATCH = 200
_COLUMNS = ("args", "kwargs", "options", "result", "progress")
# The most ids of jobs that are named.
_MOST_NAMED = 20


@dataclasses.dataclass(slots=True)
class Reencryption:
    """The counts that :func:`reencrypt` returns."""

    #: Jobs with encrypted values.
    jobs: int = 0
    #: Values that were encrypted anew, and those that the first key had encrypted already.
    renewed: int = 0
    kept: int = 0
    #: Values that no key opens, and the ids of the first jobs that have some.
    closed: int = 0
    closed_jobs: list[UUID] = dataclasses.field(default_factory=list)

    def add(self, other: Reencryption) -> None:
        self.jobs += other.jobs
        self.renewed += other.renewed
        self.kept += other.kept
        self.closed += other.closed
        self.closed_jobs += other.closed_jobs[: _MOST_NAMED - len(self.closed_jobs)]

    def value(self, value: Any) -> Any:
        """Return *value* encrypted by the first key, if it is encrypted, and count it."""
        if not is_envelope(value):
            return value
        try:
            new = renewed(value)
        except EncryptionError:
            self.closed += 1
            return value
        if new is value:
            self.kept += 1
        else:
            self.renewed += 1
        return new


def reencrypt(
    *, using: str = "", note: Callable[[int], object] = lambda number: None
) -> Reencryption:
    """Encrypt all encrypted values of jobs with the first key of ``ENCRYPTION_KEYS``.

    *using* is a database's alias, by default every database that holds jobs. Each transaction
    changes 200 jobs; *note* gets the number of the jobs after each. A run that was stopped is
    continued by another one, which leaves what has the first key already. Raises
    ``EncryptionError`` without a usable key.
    """
    refuse_without_keys()
    total = Reencryption()
    for alias in [using] if using else databases():
        last = UUID(int=0)
        while ids := _next(last, alias):
            change = functools.partial(_change, ids, alias)
            total.add(without_deadlock(alias, functools.partial(in_order, alias, change)))
            last = ids[-1]
            note(len(ids))
    return total


def _next(last: UUID, using: str) -> list[UUID]:
    """Return the ids of the next jobs after *last* that may have encrypted values."""
    marked = Q()
    for column in _COLUMNS:
        marked |= Q(**{f"{column}__contains": MARK})
    steps = Step.objects.using(using).filter(job_id=OuterRef("id"), result__contains=MARK)
    marked |= Q(Exists(steps))
    rows = Job.objects.using(using).filter(marked, id__gt=last)
    return list(rows.order_by("id").values_list("id", flat=True)[:_BATCH])


def _change(ids: list[UUID], using: str) -> Reencryption:
    done = Reencryption()
    jobs = Job.objects.using(using).filter(id__in=[job.pk for job in lock_jobs(ids, using)])
    steps = Step.objects.using(using).filter(job_id__in=ids, result__contains=MARK)
    with_steps = set(steps.values_list("job_id", flat=True))
    for job_id, *texts in jobs.order_by("id").values_list("id", *map(_text, _COLUMNS)):
        part = Reencryption()
        new = _renewed_texts(dict(zip(_COLUMNS, texts, strict=True)), part)
        if part.renewed:
            written = {name: Value(text, output_field=TextField()) for name, text in new.items()}
            Job.objects.using(using).filter(id=job_id).update(**written)
        if job_id in with_steps:
            _change_steps(job_id, using, part)
        part.jobs = int(part.renewed + part.kept + part.closed > 0)
        part.closed_jobs = [job_id] if part.closed else []
        done.add(part)
    return done


def _change_steps(job_id: UUID, using: str, done: Reencryption) -> None:
    """Encrypt the results of the steps of a locked job anew."""
    steps = Step.objects.using(using)
    for step in steps.filter(job_id=job_id, result__contains=MARK).only("id", "result"):
        new = done.value(step.result)
        if new is not step.result:
            steps.filter(id=step.pk).update(result=new)


def _renewed_texts(texts: dict[str, str | None], done: Reencryption) -> dict[str, str]:
    """Return the texts of the columns that may change."""
    found = {}
    for column, text in texts.items():
        if text is None or MARK not in text:
            continue
        try:
            value = json.loads(text)
            found[column] = json_of(_renewed_column(column, value, done))
        except (TypeError, ValueError, RecursionError):
            continue  # edited by hand
    return found


def _renewed_column(column: str, value: Any, done: Reencryption) -> Any:
    if column == "args":
        return opened_call(value, {}, by=done.value)[0]
    if column == "kwargs":
        return opened_call([], value, by=done.value)[1]
    if column == "progress":
        return opened_progress(value, by=done.value)
    if column == "options":
        errbacks = [
            [opened_errback(form, by=done.value), place] for form, place in value["link_error"]
        ]
        return {name: errbacks if name == "link_error" else old for name, old in value.items()}
    return done.value(value)


def _text(column: str) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(F(column), output_field=TextField())
