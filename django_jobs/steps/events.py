"""Lets a running job wait for an event."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Subquery

from ..db import clock
from ..db.commits import after_commit
from ..enqueue.notify import Topic, announce
from ..events.delivery import look, take_kept
from ..events.ending import BROADCAST, TIMED_OUT
from ..events.send import check_name
from ..exceptions import EventTimeout, StepError
from ..models import EventWait, Step
from ..moments import seconds
from ..status import Status
from ..values import Outcome
from .journal import Journal, journal_of
from .recorded import Recorded, State
from .suspension import Suspension

if TYPE_CHECKING:
    from ..define.context import JobContext

Timeout = float | datetime.timedelta | None


@dataclasses.dataclass(slots=True)
class Wait(Suspension):
    """The job waits for the event *name*, or for a person, for at most so many seconds."""

    status: Status = Status.WAITING
    name: str = ""
    timeout: float | None = None
    #: The broadcasts that earlier steps of the job took.
    seen: list[int] = dataclasses.field(default_factory=list)

    def write(self, outcome: Outcome, using: str) -> set[str]:
        steps = Step.objects.using(using).filter(job_id=outcome.job.id, key=self.step.key)
        # A job that was woken for another reason keeps its deadline.
        until: Any = self.step.wake_at
        queues = super(Wait, self).write(outcome, using)
        if until is None and self.timeout is not None:
            until = clock(using, self.timeout)
        waits = EventWait.objects.using(using).filter(job_id=outcome.job.id, key=self.step.key)
        waits._raw_delete(using)
        wait = waits.create(
            job_id=outcome.job.id,
            key=self.step.key,
            name=self.name,
            approval_id=self.asked(outcome, using),
            is_new=bool(self.name),
            encrypts=self.step.encrypts,
            until=until,
            seen=self.seen,
        )
        if until is not None:
            steps.update(wake_at=Subquery(waits.values("until")))
            announce(using, {Topic.TIMED})
        if self.name:
            after_commit(using, look, wait, using)
        return queues

    def asked(self, outcome: Outcome, using: str) -> int | None:
        """Write what the job asks a person; return its id, or None if it asks nothing."""
        return None


def wait_for_event(context: JobContext, name: str, timeout: Timeout) -> Any:
    """Return the payload of the next event *name*; suspend the job until it comes."""
    check_name(name)
    longest = None if timeout is None else seconds(timeout, "timeout", least=0.0)
    journal = journal_of(context, "wait_for_event")
    step = journal.use(name, Step.Kind.EVENT, name)
    if step.state == State.DONE:
        return _value(step, name)
    seen = [
        other.data[BROADCAST]
        for other in journal.recorded(Step.Kind.EVENT, name)
        if other.data and BROADCAST in other.data
    ]
    if context.request.is_eager:
        return _at_once(journal, step, seen, longest)
    return journal.suspend(Wait(step, name=name, timeout=longest, seen=seen))


def _value(step: Recorded, name: str) -> Any:
    if step.data and step.data.get(TIMED_OUT):
        raise EventTimeout(f"No event {name!r} came in time.")
    return step.value()


def _at_once(journal: Journal, step: Recorded, seen: list[int], timeout: float | None) -> Any:
    """Return what an eager job gets: an event that is kept, or at once the end of its timeout."""
    name = step.function
    event = take_kept(name, seen, journal.store.using)
    if event is not None:
        if event.broadcast:
            step.data = {BROADCAST: event.pk}
        return journal.record(step, event.payload)
    if timeout is None:
        raise StepError(
            f"The job waits for the event {name!r} without a timeout, and runs in the process that "
            "would send it. Send the event before, or enqueue the job."
        )
    step.data = {TIMED_OUT: True}
    journal.record(step, None)
    return _value(step, name)
