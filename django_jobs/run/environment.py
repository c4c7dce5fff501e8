"""What a pool lends to the jobs that it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..define.context import JobContext
from ..define.current import Request
from ..values import Outcome

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from .outcome import Execution


@dataclasses.dataclass(frozen=True, slots=True)
class Environment:
    """What a pool lends to the jobs that it runs."""

    worker_name: str = ""
    using: str = "default"
    #: Takes what a running job shows of its progress.
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
    #: Tells why this pool cannot hold a job to its time limits, or None when it can.
    unable: Callable[[Request, JobFunction[..., Any, Any]], str | None] | None = None
    #: Told of the job and its hard limit before anything of it runs.
    begins: Callable[[Execution], None] = lambda execution: None
    #: Writes an atomic job's SUCCESS in the body's transaction; False when the job is not ours.
    commit: Callable[[Outcome], bool] = lambda outcome: True
    #: Makes the database sessions that the body used fit for others; returns the alias of the
    #: database on which it left a transaction open, or "".
    tidy: Callable[[], str] = lambda: ""
    #: Told that the body could not connect to the database of the jobs.
    refused: Callable[[BaseException], None] = lambda error: None
    is_eager: bool = False
