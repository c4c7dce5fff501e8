"""Instrumentation: tracers that register themselves, besides ``HEADERS`` and ``MIDDLEWARE``.

A tracer is told of every enqueue, with the jobs' ids and queues, and adds the headers that carry
its trace. It is around every attempt, outside of the project's middleware. Its errors are logged
and change nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..values import NewJob
    from .context import JobContext


@dataclasses.dataclass(slots=True)
class Enqueuing:
    """Jobs that are enqueued together."""

    rows: Sequence[NewJob]
    #: The headers of the job whose end enqueues these, in no attempt; empty for all others.
    cause: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: The rows that became jobs, known at the end. A call whose unique key a live job has is none.
    written: Sequence[NewJob] = ()


class Instrumentation(Protocol):
    """What an integration registers, with :func:`register`."""

    #: Its name in the log.
    path: str

    def header_names(self) -> Collection[str]:
        """Return the headers of its own. Jobs that a job enqueues do not inherit them."""

    def enqueuing(self, jobs: Enqueuing) -> AbstractContextManager[Mapping[str, Any]]:
        """Return a context manager around the INSERT; it returns headers for each job.

        A job keeps its own headers if it has one of these names already.
        """

    def attempt(self, job: JobContext) -> AbstractContextManager[object]:
        """Return a context manager around an attempt; a sync one that does not block."""


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
