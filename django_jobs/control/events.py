"""Events for people: what jobs wait for, and an event by hand."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from ..db.chunks import chunks
from ..events.send import send_event
from ..models import EventWait
from .jobs import by_database

__all__ = ["AwaitedEvent", "awaited_events", "send_event"]


class AwaitedEvent(NamedTuple):
    """A WAITING job's step that goes on with an event."""

    job_id: UUID
    #: Of the step.
    key: str
    #: Of the event.
    name: str
    #: When ``EventTimeout`` is raised; None: never.
    until: datetime.datetime | None
    #: Alias of the database, for ``send_event(using=...)``.
    using: str


def awaited_events(ids: Sequence[UUID | str]) -> list[AwaitedEvent]:
    """Return the events that jobs wait for, by the jobs' ids; *ids* are UUIDs or their texts."""
    found: list[AwaitedEvent] = []
    for using, some in by_database(ids):
        for chunk in chunks(some):
            waits = EventWait.objects.using(using).filter(job_id__in=chunk, approval_id=None)
            rows = waits.values_list("job_id", "key", "name", "until")
            found += [AwaitedEvent(*row, using) for row in rows]
    return sorted(found)
