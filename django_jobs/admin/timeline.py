"""The timeline of a job: its events, with the time between them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from operator import attrgetter

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..display.times import duration
from ..models import Attempt, Job
from ..status import Status
from .badges import moment


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    at: datetime.datetime
    label: str

    @property
    def moment(self) -> SafeString:
        return moment(self.at, precise=True)


@dataclasses.dataclass(frozen=True, slots=True)
class ShownEvent:
    label: str
    moment: SafeString
    #: The time since the previous event.
    after: str


def timeline(job: Job, attempts: Sequence[Attempt]) -> list[ShownEvent]:
    """Return the events in the order of their times; *attempts* are the job's Attempt rows."""
    # A stable sort: events of the same time keep the order of _events().
    events = sorted(_events(job, attempts), key=attrgetter("at"))
    befores = [None, *events[:-1]]
    return [
        ShownEvent(event.label, event.moment, duration(event.at - before.at) if before else "")
        for before, event in zip(befores, events, strict=True)
    ]


def _events(job: Job, attempts: Sequence[Attempt]) -> Iterator[Event]:
    yield Event(job.enqueued_at, _("enqueued"))
    if job.run_at:
        retries = job.status == Status.RETRY
        yield Event(job.run_at, _("next attempt is due") if retries else _("scheduled for"))
    for attempt in sorted(attempts, key=attrgetter("pk")):
        number = {"number": attempt.attempt}
        if attempt.started_at:
            yield Event(attempt.started_at, _("attempt %(number)d started") % number)
        text = _("attempt %(number)d ended: %(status)s")
        yield Event(attempt.ended_at, text % {**number, "status": attempt.get_status_display()})
    if job.ready_at:
        yield Event(job.ready_at, _("ready"))
    if _is_kept(job, attempts):
        return
    if job.started_at:
        yield Event(job.started_at, _("attempt %(number)d started") % {"number": job.attempt})
    if job.ended_at:
        yield Event(job.ended_at, _("ended: %s") % job.get_status_display())
    if job.expires_at and not job.has_ended:
        yield Event(job.expires_at, _("expires"))


def _is_kept(job: Job, attempts: Sequence[Attempt]) -> bool:
    """Say whether the latest attempt has a row of its own."""
    return any(attempt.claims == job.claims for attempt in attempts)
