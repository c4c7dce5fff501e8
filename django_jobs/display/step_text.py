"""The steps of one job as text for people, without secrets."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from ..models import Job, Step
from .job_text import Payload, Unreadable

#: The page and the command show the last steps of a job, which says where it stands.
MOST_STEPS = 100


@dataclasses.dataclass(frozen=True, slots=True)
class ShownStep:
    """One step; ``result`` is JSON, ``waits_until`` the time at which its wait or retry ends."""

    key: str
    position: int
    kind: str
    function: str
    state: str
    result: Any
    tries: int
    began_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    waits_until: datetime.datetime | None
    error_class: str
    error_message: str
    traceback: str

    @property
    def state_label(self) -> str:
        return str(Step.State(self.state).label) if self.state in Step.State.values else self.state

    @property
    def took(self) -> datetime.timedelta | None:
        if self.began_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.began_at

    @property
    def what(self) -> str:
        return what(self.kind, self.function)


def what(kind: str, function: str) -> str:
    """Return what a step calls; for other kinds than a call, the kind and what it names."""
    if kind == Step.Kind.CALL:
        return function
    label = str(Step.Kind(kind).label) if kind in Step.Kind.values else kind
    return f"{label}: {function}" if function else label


def steps_of(job: Job, payload: Payload) -> tuple[list[ShownStep], int]:
    """Return the last :data:`MOST_STEPS` steps in their order, and how many come before them.

    *payload* is the job's, which knows what is hidden.
    """
    rows = Step.objects.using(job._state.db).filter(job_id=job.pk).order_by("-position", "-pk")
    found = list(rows[: MOST_STEPS + 1])
    left_out = rows.count() - MOST_STEPS if len(found) > MOST_STEPS else 0
    return [_shown(row, payload) for row in reversed(found[:MOST_STEPS])], left_out


def _shown(row: Step, payload: Payload) -> ShownStep:
    result = payload.step_result(row)
    return ShownStep(
        key=payload.text(row.key),
        position=row.position,
        kind=row.kind,
        function=row.function,
        state=row.state,
        result=str(result) if isinstance(result, Unreadable) else result,
        tries=row.tries,
        began_at=row.began_at,
        ended_at=row.ended_at,
        waits_until=row.wake_at if row.state != Step.State.DONE else None,
        error_class=row.error_class,
        error_message=payload.text(row.error_message),
        traceback=payload.text(row.traceback),
    )
