"""Values that the stages of a job pass on: a claimed job, and the outcome of an attempt."""

from __future__ import annotations

import dataclasses
import datetime
import time
from typing import Any, NamedTuple
from uuid import UUID

from .define.row_options import NOTHING, RowOptions, parse
from .status import ENDED, Status

#: The columns a claim reads, in the order of :class:`Claimed`'s fields.
CLAIMED_COLUMNS = (
    "id", "name", "args", "kwargs", "claims", "retries", "crashes", "deferrals", "queue", "rank",
    "headers", "options", "root_id", "parent_id", "group_id", "has_dependents", "run_at",
    "expires_at",
)  # fmt: skip


class Claimed:
    """A job that this worker has claimed: the columns of its row, and whether it has expired.

    ``args``, ``kwargs``, ``headers`` and ``options`` are JSON texts. ``claims`` and the worker's
    id are the fencing token: this worker may change the row only while the row has both. ``ready``
    is the :func:`time.monotonic` at which the job became ready; the claim returns the seconds that
    it waited, by the database's clock.
    """

    __slots__ = (
        *CLAIMED_COLUMNS,
        "_row_options",
        "begin_by",
        "expired",
        "permits",
        "problem",
        "ready",
    )

    id: UUID
    name: str
    args: str
    kwargs: str
    claims: int
    retries: int
    crashes: int
    deferrals: int
    queue: str
    rank: int
    headers: str | None
    options: str | None
    root_id: UUID | None
    parent_id: UUID | None
    group_id: UUID | None
    has_dependents: bool
    run_at: datetime.datetime | None
    expires_at: datetime.datetime | None
    expired: bool
    ready: float
    #: The keys of the concurrency limits under which it has a permit.
    permits: tuple[str, ...]
    #: The latest :func:`time.monotonic` at which its rate limit lets it begin.
    begin_by: float | None
    #: Why it cannot run, if the worker found that out after the claim.
    problem: str

    def __init__(self, *row: Any) -> None:
        (
            self.id, self.name, self.args, self.kwargs, self.claims, self.retries, self.crashes,
            self.deferrals, self.queue, self.rank, self.headers, self.options, self.root_id,
            self.parent_id, self.group_id, self.has_dependents, self.run_at, self.expires_at,
            self.expired, waited,
        ) = row  # fmt: skip
        self.ready = time.monotonic() - waited
        self.permits = ()
        self.problem = ""
        self.begin_by = None
        self._row_options: RowOptions | None = None

    @property
    def row_options(self) -> RowOptions:
        """Its options, parsed at the first use."""
        if self.options is None:
            return NOTHING
        if self._row_options is None:
            self._row_options = parse(self.options)
        return self._row_options

    @property
    def priority(self) -> int:
        return -self.rank


@dataclasses.dataclass(slots=True)
class Failure:
    """The error of one attempt; ``error_class`` is a dotted name, ``args`` a JSON text."""

    error_class: str
    message: str
    traceback: str = ""
    args: str | None = None


class NewEdge(NamedTuple):
    """A job (``child``) waits for the end of another one; ``position`` orders their results."""

    parent: UUID
    child: UUID
    kind: str
    position: int


@dataclasses.dataclass(slots=True)
class Graph:
    """The rows and edges of a workflow that is not written yet; parents come before children."""

    rows: list[NewJob]
    edges: list[NewEdge]
    #: Id of the row whose result is the workflow's, if something takes it.
    output: UUID | None = None

    def output_row(self) -> NewJob:
        """Return the row whose result is the workflow's."""
        return next(row for row in self.rows if row.id == self.output)

    def unique_keys(self) -> list[str]:
        """Return the unique keys of the rows."""
        return [row.unique_key for row in self.rows if row.unique_key]


@dataclasses.dataclass(slots=True)
class Outcome:
    """How one attempt at a job ended, as a value; ``record`` writes it.

    ``status`` is the job's next one: SUCCESS, FAILURE, REVOKED, RETRY, SCHEDULED or PENDING.
    ``delay`` (seconds) or ``run_at`` say when a RETRY or SCHEDULED job runs. ``began`` and
    ``ended`` are of :func:`time.monotonic`, so that no wall clock of the worker is trusted.
    ``keep_seconds`` is how long an ended row is kept (None: for ever).
    """

    job: Claimed
    status: str
    began: float
    ended: float
    result: str | None = dataclasses.field(default=None, repr=False)
    retries: int = 0
    crashes: int = 0
    deferrals: int = 0
    delay: float | None = None
    run_at: datetime.datetime | None = None
    #: When a RETRY expires, a moment or seconds from now; None leaves it as it is.
    expires: tuple[datetime.datetime | None, float | None] | None = None
    keep_seconds: float | None = None
    failure: Failure | None = None
    #: The value the body returned, or what it raised; for hooks, signals and eager results.
    value: Any = dataclasses.field(default=None, repr=False)
    #: Whether the transaction of an ``atomic`` job has written it already.
    recorded: bool = False
    #: The workflow that replaces the job; its output row has the id of the job.
    replacement: Graph | None = None
    #: Workflows to add to the header of the job's chord when it succeeds; the chord's body takes
    #: the result of the output row of each.
    added: list[Graph] = dataclasses.field(default_factory=list)

    @property
    def is_deferred(self) -> bool:
        """Whether the job waits for a worker that can run it; ``failure`` has the reason."""
        return self.status == Status.SCHEDULED and self.failure is not None

    @property
    def is_followed(self) -> bool:
        """Whether other rows change in the same transaction."""
        if self.replacement is not None or self.added:
            return True
        job = self.job
        return self.status in ENDED and (
            job.has_dependents or bool(job.row_options.workflow.errbacks)
        )

    def ages(self) -> tuple[float, float]:
        """Return the seconds since the body began and since it ended.

        The database subtracts them from its own clock, so no wall clock of a worker is used.
        """
        now = time.monotonic()
        return max(0.0, now - self.began), max(0.0, now - self.ended)


class NewJob(NamedTuple):
    """The columns an enqueue writes. ``args``, ``kwargs``, ``headers``, ``options``: JSON texts.

    ``eta`` and ``expires_at`` are aware (or, without USE_TZ, naive) datetimes; ``countdown`` and
    ``expires_in`` are seconds, which the database adds to its own clock.
    """

    id: UUID
    name: str
    queue: str
    rank: int
    status: str
    args: str
    kwargs: str
    headers: str | None = None
    options: str | None = None
    eta: datetime.datetime | None = None
    countdown: float | None = None
    expires_at: datetime.datetime | None = None
    expires_in: float | None = None
    root_id: UUID | None = None
    parent_id: UUID | None = None
    unique_key: str | None = None
    schedule_id: int | None = None
    group_id: UUID | None = None
    pending_parents: int = 0
    has_dependents: bool = False

    def __repr__(self) -> str:
        # Without the arguments: trackers of errors send the reprs of what stands in frames.
        return f"NewJob({self.name!r}, id={self.id}, queue={self.queue!r}, status={self.status!r})"
