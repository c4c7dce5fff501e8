"""The operations on jobs that need more than the jobs: a step, an event, or a queue."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from ..control import events, jobs, retrying
from ..control.moving import move
from ..exceptions import QueueFull
from ..models import Job
from .job_actions import MOVE, OPERATIONS, RETRY_FROM, SEND_EVENT, Operation


def named(name: str, target: Mapping[str, Any]) -> Operation:
    """Return the operation of that *name*; *target* is its :attr:`Operation.target`."""
    if name == RETRY_FROM.name:
        return retrying_from(target["step"])
    if name == MOVE.name:
        return moving(target["queue"], target["priority"])
    return next(each for each in OPERATIONS if each.name == name)


def retrying_from(step: str) -> Operation:
    """Return the operation that retries jobs from that step, by its key; from the start for ""."""

    def run(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
        _done, skipped = retrying.retry(
            ids, from_step=step or None, from_start=not step, using=using, note=note
        )
        return skipped

    audit = f"Retried from step {step}." if step else "Retried from the start."
    return dataclasses.replace(RETRY_FROM, run=run, audit=audit, target={"step": step})


def sending(name: str, payload: Any) -> Operation:
    """Return the operation that sends the event *name* once for each job that waits for it."""

    def run(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
        waiting = [each.job_id for each in events.awaited_events(ids) if each.name == name]
        with transaction.atomic(using):
            for _each in waiting:
                # For the jobs that wait now: none that waits later takes what is left over.
                events.send_event(name, payload, keep=0.0, using=using)
            note(list(Job.objects.using(using).filter(pk__in=waiting).only("name")))
        others = len(set(ids)) - len(set(waiting))
        return {_("does not wait for this event"): others} if others else {}

    return dataclasses.replace(SEND_EVENT, run=run, audit=f"Sent the event {name}.")


def moving(queue: str | None, priority: int | None) -> Operation:
    """Return the operation that moves jobs to *queue* and *priority*.

    A job keeps its own where one of them is None.
    """

    def run(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
        try:
            _done, skipped = move(ids, queue=queue, priority=priority, using=using, note=note)
        except QueueFull:
            return {_("the queue is full"): len(ids)}
        return skipped

    target = {"queue": queue, "priority": priority}
    words = [f"{name} {value}" for name, value in target.items() if value is not None]
    return dataclasses.replace(MOVE, run=run, audit=f"Moved to {', '.join(words)}.", target=target)
