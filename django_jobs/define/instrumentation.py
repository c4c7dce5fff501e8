"""Instrumentation: tracers that register themselves, besides ``HEADERS`` and ``MIDDLEWARE``."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..models import Schedule
    from ..values import NewJob, Outcome
    from .context import JobContext


@dataclasses.dataclass(slots=True)
class Enqueuing:
    """Jobs that are enqueued together."""

    rows: Sequence[NewJob]
    #: The headers of the job whose end enqueues these, in no attempt; empty for all others.
    cause: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: The rows that became jobs, known at the end. A call whose unique key a live job has is none.
    written: Sequence[NewJob] = ()


class Instrumentation:
    """A tracer. By default its methods do nothing.

    The package logs the errors of :meth:`enqueuing` and :meth:`attempt`, and continues. The other
    methods must not raise: workers and beats call them.
    """

    #: Its name in the log.
    path = ""

    def header_names(self) -> Collection[str]:
        """Return the headers of its own. Jobs that a job enqueues do not inherit them."""
        return ()

    def enqueuing(self, jobs: Enqueuing) -> AbstractContextManager[Mapping[str, Any]]:
        """Return a context manager around the INSERT; it returns headers for each job.

        A job keeps its own headers if it has one of these names already.
        """
        return contextlib.nullcontext({})

    def attempt(self, job: JobContext) -> AbstractContextManager[object]:
        """Return a context manager around an attempt, outside of the project's middleware.

        It is a sync one that does not block.
        """
        return contextlib.nullcontext()

    def ended(self, outcome: Outcome, expected: bool) -> None:
        """Hear of the recorded end of an attempt, before the log; *expected*: it is in ``throws``.

        If the attempt began, it is called inside the context managers around the attempt, or with
        the context variables that they have set.
        """

    def tick_headers(self, schedule: Schedule) -> Mapping[str, Any]:
        """Return headers, as JSON, for the job of a schedule's tick."""
        return {}

    def process_begins(self) -> None:
        """Hear that a worker has forked this process."""

    def process_ends(self) -> None:
        """Hear that a forked process ends, or that another program takes its place.

        Python's ``atexit`` does not hear of it.
        """


#: In the order of their registration. It is replaced, never changed.
instrumentations: tuple[Instrumentation, ...] = ()


def register(instrumentation: Instrumentation) -> None:
    """Add *instrumentation* in this process and in those that it forks."""
    global instrumentations
    instrumentations = (*instrumentations, instrumentation)


def unregister(instrumentation: Instrumentation) -> None:
    """Remove *instrumentation*, if it is registered."""
    global instrumentations
    instrumentations = tuple(each for each in instrumentations if each is not instrumentation)
