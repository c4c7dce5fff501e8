"""The functions and limits that a pool gives to the attempts that it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..define.context import JobContext
from ..values import Outcome
from .middleware import Factory, middleware

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from ..steps.journal import Store
    from .outcome import Execution


@dataclasses.dataclass(frozen=True, slots=True)
class Environment:
    """The functions and limits that a pool gives to the attempts that it runs; times in seconds."""

    worker_name: str = ""
    using: str = "default"
    #: Called with the progress that a running job shows.
    report: Callable[[JobContext, dict[str, Any]], None] | None = None
    #: Raises SoftTimeLimitExceeded in the body after so many seconds, where the pool can.
    soft_limit: Callable[[float], AbstractContextManager[None]] | None = None
    #: Entered around the body, where a stop may raise WorkerStopping in it.
    stoppable: AbstractContextManager[None] | None = None
    #: Time limits of jobs that have none of their own.
    time_limit: float | None = None
    soft_time_limit: float | None = None
    #: Hard and soft limits that an operator gave job functions, by their names.
    time_limits: Mapping[str, tuple[float | None, float | None]] = dataclasses.field(
        default_factory=dict
    )
    #: Takes a job function and the hard and the soft limit of a job, and returns why this pool
    #: cannot enforce them, or None.
    unable: (
        Callable[[JobFunction[..., Any, Any], float | None, float | None], str | None] | None
    ) = None
    #: Called before any code of the job runs.
    begins: Callable[[Execution], None] = lambda execution: None
    #: Writes the outcomes of an atomic body in its transaction; returns False if another worker has
    #: one of the jobs.
    commit: Callable[[Sequence[Outcome]], bool] = lambda outcomes: True
    #: Has an outcome recorded and waits for that; returns the outcome that the row has now, or None
    #: if it was dropped. Without it nothing is recorded, as for eager jobs.
    confirm: Callable[[Outcome], Outcome | None] | None = None
    #: Does the same for the outcomes of a batch, together.
    confirm_all: Callable[[Sequence[Outcome]], list[Outcome | None]] | None = None
    #: Closes or cleans the database sessions that the body used; returns the alias of the
    #: database on which the body left a transaction open, or "".
    tidy: Callable[[], str] = lambda: ""
    #: Called when the body could not connect to the database of the jobs.
    refused: Callable[[BaseException], None] = lambda error: None
    #: Where the steps of the jobs are kept.
    steps: Store | None = None
    is_eager: bool = False
    #: The paths and the callables of instrumentation and of ``MIDDLEWARE``.
    middleware: tuple[tuple[str, Factory], ...] = dataclasses.field(default_factory=middleware)
