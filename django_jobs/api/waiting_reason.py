"""The reason why one job waits."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from ..metrics.waiting import Kind


class OtherJob(NamedTuple):
    """A job for which another one waits."""

    id: UUID
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class WaitingReason:
    """The reason why a job waits. Its *kind* decides which of the other fields are set."""

    kind: Kind
    #: The queue of the job.
    queue: str
    #: The job function of a limit, or empty for the limit of the queue; the name of an event; the
    #: unknown job function; the class of the error after which it runs again.
    subject: str = ""
    #: The step that waits.
    step: str = ""
    #: When the wait ends, or its timeout.
    until: datetime.datetime | None = None
    #: Since when the queue is paused.
    since: datetime.datetime | None = None
    #: Who paused the queue; the worker that has claimed the job.
    by: str = ""
    worker_id: UUID | None = None
    #: The limit, such as ``6/m`` or ``1``; empty if this process does not know it.
    limit: str = ""
    #: The key of the limit. It contains a digest of values, never the values.
    key: str = ""
    #: The parameters by whose values jobs have limits of their own.
    per: str = ""
    #: The jobs that hold the permits, or that have to end first; at most the first three.
    jobs: tuple[OtherJob, ...] = ()
    #: How many jobs have to end first.
    number: int | None = None
    #: How many jobs are before it in line.
    position: int | None = None
    #: There are more than ``position`` jobs before it.
    is_capped: bool = False
    slots: int = 0
    busy: int = 0

    def blanked(self, text: Callable[[str], str]) -> WaitingReason:
        """Return it without the secrets of the job in the names of events and of steps."""
        if not self.step:
            return self
        return dataclasses.replace(self, subject=text(self.subject), step=text(self.step))

    def as_json(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON has them."""
        found: dict[str, Any] = {"kind": self.kind.value}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "kind" and value not in (None, "", (), False):
                found[field.name] = value
        if self.jobs:
            found["jobs"] = [{"id": str(one.id), "name": one.name} for one in self.jobs]
        if self.worker_id:
            found["worker_id"] = str(self.worker_id)
        return found
