"""Ends waits: the step is recorded, and its job becomes ready."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from .. import transitions
from ..db import clock
from ..define.envelopes import stored
from ..enqueue.notify import announce
from ..locking import lock_jobs
from ..models import EventWait, Job, Step
from ..status import Status

#: The keys of a step's data: the ids of the broadcast that it took, and of the approval that it
#: asked for, and whether nothing came in time.
BROADCAST, APPROVAL, TIMED_OUT = "broadcast", "approval", "timed_out"


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """The end of a wait: the step returns a value, or nothing came in time."""

    value: Any = dataclasses.field(default=None, repr=False)
    #: The id of the event, if it was a broadcast.
    broadcast: int | None = None
    timed_out: bool = False

    def data(self, wait: EventWait) -> dict[str, Any]:
        """Return what the step's row remembers."""
        data: dict[str, Any] = {}
        if self.timed_out:
            data[TIMED_OUT] = True
        if self.broadcast is not None:
            data[BROADCAST] = self.broadcast
        if wait.approval_id is not None:
            data[APPROVAL] = wait.approval_id
        return data


def end_waits(waits: Sequence[EventWait], end: End, using: str) -> int:
    """End those of *waits* that are open, inside a transaction; return how many were.

    It locks their jobs. A wait whose job is not WAITING any more is deleted.
    """
    jobs = {job.pk: job for job in lock_jobs({wait.job_id for wait in waits}, using)}
    known = _deleted(waits, using)
    ended = [
        wait
        for wait in waits
        if wait.pk in known and wait.job_id in jobs and jobs[wait.job_id].status == Status.WAITING
    ]
    # A broadcast ends many alike.
    alike: dict[tuple[str, bool, int | None], list[EventWait]] = {}
    for wait in ended:
        alike.setdefault((wait.key, wait.encrypts, wait.approval_id), []).append(wait)
    for (key, *_), some in alike.items():
        ids = [wait.job_id for wait in some]
        Step.objects.using(using).filter(job_id__in=ids, key=key).update(
            state=Step.State.DONE,
            result=result_of(end.value, some[0].encrypts),
            data=end.data(some[0]),
            wake_at=None,
            ended_at=clock(using),
        )
    # A job whose parent runs again waits for it, too.
    ready = [wait.job_id for wait in ended if jobs[wait.job_id].pending_parents <= 0]
    if ready:
        transitions.resume(Job.objects.using(using).filter(id__in=ready), clock(using))
        announce(using, {jobs[job_id].queue for job_id in ready})
    return len(ended)


def result_text(value: Any, *, encrypt: bool) -> str | None:
    """Return *value* as the JSON text that the step's row has."""
    text: str | None = Step._meta.get_field("result").get_prep_value(result_of(value, encrypt))
    return text


def result_of(value: Any, encrypt: bool) -> Any:
    """Return *value* as the step's row has it."""
    return None if value is None else stored(value, encrypt=encrypt)


def _deleted(waits: Sequence[EventWait], using: str) -> set[int]:
    """Delete the rows; return the ids of those that were there."""
    ids = [wait.pk for wait in waits]
    rows = EventWait.objects.using(using).filter(pk__in=ids)
    if len(ids) == 1:
        return set(ids) if rows._raw_delete(using) else set()
    known = set(rows.values_list("pk", flat=True))
    rows._raw_delete(using)
    return known
