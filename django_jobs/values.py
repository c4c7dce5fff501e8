"""Values that the stages of a job pass on: a claimed job, and the outcome of an attempt."""

from __future__ import annotations

import contextvars
import dataclasses
import datetime
import itertools
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args, get_type_hints
from uuid import UUID

from .define.row_options import NOTHING, RowOptions, parse
from .status import ENDED, Status

# Metadata of a field of Outcome that is a column of the job's row.
_COLUMN = {"column": True}


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Claimed:
    """A job that this worker has claimed: the columns of its row, and whether it has expired.

    ``args``, ``kwargs``, ``headers`` and ``options`` are JSON texts. ``claims`` and the worker's
    id are the fencing token: this worker may change the row only while the row has both. ``ready``
    is the :func:`time.monotonic` at which the job became ready; the claim returns the seconds that
    it waited, by the database's clock.
    """

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
    # The fields below are no columns.
    expired: bool
    waited: dataclasses.InitVar[float]
    ready: float = dataclasses.field(init=False)
    #: The keys of the concurrency limits under which it has a permit.
    permits: tuple[str, ...] = dataclasses.field(default=(), init=False)
    #: The latest :func:`time.monotonic` at which its rate limit lets it begin.
    begin_by: float | None = dataclasses.field(default=None, init=False)
    #: Why it cannot run, if the worker found that out after the claim.
    problem: str = dataclasses.field(default="", init=False)
    #: Whether the problem is that its arguments or a parent's result cannot be decrypted.
    is_closed: bool = dataclasses.field(default=False, init=False)
    #: Whether a result that it takes is encrypted in its parent's row.
    took_encrypted: bool = dataclasses.field(default=False, init=False)
    _row_options: RowOptions | None = dataclasses.field(default=None, init=False)

    def __post_init__(self, waited: float) -> None:
        self.ready = time.monotonic() - waited

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


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Batch:
    """Claimed jobs of one function, whose body gets their calls at once."""

    jobs: list[Claimed]

    @property
    def name(self) -> str:
        return self.jobs[0].name

    @property
    def begin_by(self) -> float | None:
        """The latest moment at which the rate limits of all its jobs let it begin."""
        moments = [job.begin_by for job in self.jobs if job.begin_by is not None]
        return min(moments, default=None)


#: The work of one slot: a job, or a batch of calls.
Work = Claimed | Batch


def jobs_of(*works: Work) -> list[Claimed]:
    """Return the jobs and those of the batches."""
    return [job for each in works for job in (each.jobs if isinstance(each, Batch) else [each])]


@dataclasses.dataclass(slots=True)
class Failure:
    """The error of one attempt; ``error_class`` is a dotted name, ``args`` a JSON text."""

    error_class: str
    message: str
    traceback: str = ""
    args: str | None = None
    #: The exception may quote what the texts leave out: a secret of the job, or a refused row.
    is_secret: bool = False


class KeptLines(NamedTuple):
    """The last lines of an attempt's log.

    A line is a list: the seconds since 1970, the level, the logger and the text.
    """

    lines: list[list[Any]]
    #: How many lines came before these.
    left_out: int
    #: Whether a row has lines of the attempt already, from while it ran.
    is_saved: Callable[[], bool] = lambda: False


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


@dataclasses.dataclass
class Outcome:
    """How one attempt at a job ended, as a value; ``record`` writes it.

    ``status`` is the job's next one: SUCCESS, FAILURE, REVOKED, RETRY, SCHEDULED or PENDING.
    ``delay`` (seconds) or ``run_at`` say when a RETRY or SCHEDULED job runs. ``began`` and
    ``ended`` are of :func:`time.monotonic`, so that no wall clock of the worker is trusted.
    ``keep_seconds`` is how long an ended row is kept (None: for ever).
    """

    job: Claimed
    status: str = dataclasses.field(metadata=_COLUMN)
    began: float
    ended: float
    result: str | None = dataclasses.field(default=None, repr=False, metadata=_COLUMN)
    retries: int = dataclasses.field(default=0, metadata=_COLUMN)
    crashes: int = dataclasses.field(default=0, metadata=_COLUMN)
    deferrals: int = dataclasses.field(default=0, metadata=_COLUMN)
    keep_seconds: float | None = None
    # The fields below are set after it was made. Most outcomes have the defaults, which the class
    # holds: to set them costs a short job a tenth of its time.
    delay: float | None = dataclasses.field(default=None, init=False)
    run_at: datetime.datetime | None = dataclasses.field(default=None, init=False)
    #: When a RETRY expires, a moment or seconds from now; None leaves it as it is.
    expires: tuple[datetime.datetime | None, float | None] | None = dataclasses.field(
        default=None, init=False
    )
    failure: Failure | None = dataclasses.field(default=None, init=False)
    #: The attempt's log lines, if its job function has ``keep_log``.
    log: KeptLines | None = dataclasses.field(default=None, init=False, repr=False)
    #: The value the body returned, or what it raised; for hooks, signals and eager results.
    value: Any = dataclasses.field(default=None, init=False, repr=False)
    #: Whether the transaction of an ``atomic`` job has written it already.
    recorded: bool = dataclasses.field(default=False, init=False)
    #: The workflow that replaces the job; its output row has the id of the job.
    replacement: Graph | None = dataclasses.field(default=None, init=False)
    #: Workflows to add to the header of the job's chord when it succeeds; the chord's body takes
    #: the result of the output row of each.
    added: Sequence[Graph] = dataclasses.field(default=(), init=False)
    #: The steps that the transaction of the record writes, too (``steps.suspension.Written``).
    steps: Sequence[Any] = dataclasses.field(default=(), init=False, repr=False)
    #: How its calls of steps ended, by function (``models.histogram.Steps``); None without steps.
    step_counts: Any = dataclasses.field(default=None, init=False, repr=False)
    #: The attempt (``run.outcome.Execution``), if one began, and its context variables, for hooks.
    execution: Any = dataclasses.field(default=None, init=False, repr=False)
    variables: contextvars.Context | None = dataclasses.field(default=None, init=False, repr=False)
    #: Whether hooks, receivers and the log were told of it.
    told: bool = dataclasses.field(default=False, init=False)

    @classmethod
    def of(cls, job: Claimed, status: Status) -> Outcome:
        """Return the outcome of a job that did not run: *status*, and the counts of its row."""
        now = time.monotonic()
        return cls(job, status.value, now, now, None, job.retries, job.crashes, job.deferrals)

    @property
    def is_deferred(self) -> bool:
        """Whether the job waits for a worker that can run it; ``failure`` has the reason."""
        return self.status == Status.SCHEDULED and self.failure is not None

    @property
    def is_followed(self) -> bool:
        """Whether other rows change in the same transaction."""
        if self.replacement is not None or self.added or self.steps:
            return True
        job = self.job
        is_waited_for = job.has_dependents or (
            job.options is not None and bool(job.row_options.workflow.errbacks)
        )
        return is_waited_for and self.status in ENDED

    def written(self) -> tuple[Any, ...]:
        """Return the values of the columns :data:`OUTCOME_TYPES`."""
        failure = self.failure
        error = (failure.error_class, failure.message) if failure else ("", "")
        return (*_columns_of(self), *error)

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
    #: The key by which the job takes turns in a fair queue.
    fair_key: str | None = None

    def __repr__(self) -> str:
        # Without the arguments: trackers of errors send the reprs of what stands in frames.
        return f"NewJob({self.name!r}, id={self.id}, queue={self.queue!r}, status={self.status!r})"


def _types(kind: type) -> dict[str, Any]:
    """Return the type of each field, without None."""
    return {name: (get_args(hint) or [hint])[0] for name, hint in get_type_hints(kind).items()}


#: The columns that a claim reads, with their types, in the order of :class:`Claimed`'s fields.
CLAIMED_TYPES = dict(
    itertools.takewhile(lambda column: column[0] != "expired", _types(Claimed).items())
)
#: The columns that an outcome writes as they are, with their types.
OUTCOME_TYPES = {
    field.name: _types(Outcome)[field.name]
    for field in dataclasses.fields(Outcome)
    if field.metadata
} | {"error_class": str, "error_message": str}
#: The fields of :class:`NewJob`, with their types.
NEW_TYPES = _types(NewJob)

_columns_of = operator.attrgetter(*list(OUTCOME_TYPES)[:-2])
