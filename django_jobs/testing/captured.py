"""The calls that were enqueued, from a capture or from the table of jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Iterator, Sequence
from typing import Any, overload

from django.utils import timezone

from ..define.envelopes import opened_call
from ..define.hidden_arguments import rules_of
from ..define.routing import databases
from ..define.sensitive import shown_arguments
from ..enqueue.capture import Capture, captures
from ..ids import JobId
from ..models import Job
from ..serialization import loads
from ..values import NewJob
from .databases import usable


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class EnqueuedJob:
    """One call that was enqueued. Its repr hides what is sensitive."""

    id: JobId
    name: str
    #: As they are stored: a ``Decimal`` is a text here, and a ``Decimal`` again in the body.
    args: list[Any]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    headers: dict[str, Any]
    #: The time from which on it may run; None: at once, or ``countdown`` is given.
    eta: datetime.datetime | None = None
    #: Seconds from the call until it may run, or None.
    countdown: float | None = None
    #: The options of its row, a JSON text. They decide what the repr hides.
    _options: str | None = None

    @classmethod
    def of_call(cls, row: NewJob) -> EnqueuedJob:
        """Return the job of a captured call."""
        countdown = row.countdown
        args, kwargs = opened_call(loads(row.args), loads(row.kwargs))
        if row.eta is not None:
            countdown = (row.eta - timezone.now()).total_seconds()
        return cls(
            JobId(row.id),
            row.name,
            args,
            kwargs,
            row.queue,
            -row.rank,
            loads(row.headers or "{}"),
            row.eta,
            countdown,
            row.options,
        )

    @classmethod
    def of_row(cls, row: Job) -> EnqueuedJob:
        """Return the job of a row."""
        countdown = None
        if row.run_at is not None:
            countdown = (row.run_at - row.enqueued_at).total_seconds()
        return cls(
            JobId(row.pk),
            row.name,
            *opened_call(row.args, row.kwargs),
            row.queue,
            row.priority,
            row.headers or {},
            row.run_at,
            countdown,
            None if row.options is None else json.dumps(row.options),
        )

    def __repr__(self) -> str:
        shown = shown_arguments(rules_of(self.name, self._options), self.args, self.kwargs)
        parts = [f"{self.name} args={shown.args!r} kwargs={shown.kwargs!r} queue={self.queue!r}"]
        if self.priority:
            parts.append(f"priority={self.priority}")
        if self.countdown is not None:
            parts.append(f"countdown={self.countdown:g}")
        return " ".join(parts)


class CapturedJobs(Sequence[EnqueuedJob]):
    """The calls that :func:`captured_jobs` has captured, as a sequence of :class:`EnqueuedJob`."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def __iter__(self) -> Iterator[EnqueuedJob]:
        return map(EnqueuedJob.of_call, list(self._capture.rows))

    def __len__(self) -> int:
        return len(self._capture.rows)

    @overload
    def __getitem__(self, position: int) -> EnqueuedJob: ...

    @overload
    def __getitem__(self, position: slice) -> list[EnqueuedJob]: ...

    def __getitem__(self, position: int | slice) -> EnqueuedJob | list[EnqueuedJob]:
        return list(self)[position]

    def __repr__(self) -> str:
        return repr(list(self))


@contextlib.contextmanager
def captured_jobs(*, write: bool = True) -> Iterator[CapturedJobs]:
    """Capture the jobs that are enqueued in the block, from any thread.

    With *write* as False no row is written, and nothing runs, also with ``EAGER``: the block needs
    no database. The handles that it gets are of jobs that do not exist.

    What calls and workflows enqueue is captured; the jobs of schedules and of errbacks, which
    workers enqueue, are not.
    """
    capture = Capture(writes=write)
    captures.append(capture)
    try:
        yield CapturedJobs(capture)
    finally:
        captures.remove(capture)


def enqueued() -> list[EnqueuedJob]:
    """Return what the innermost open capture has, or else the rows of all jobs, oldest first."""
    if captures:
        return list(CapturedJobs(captures[-1]))
    rows = [job for using in usable(databases()) for job in Job.objects.using(using).order_by("id")]
    return [EnqueuedJob.of_row(row) for row in rows]
