"""The calls that the body of a batch gets, and the ``current_job`` that stands for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .context import JobContext
from .durable import Durable

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from ..ids import JobId
    from ..values import Claimed
    from .current import Request

# They change or show one job, or record its steps.
_DURABLE = {name for each in Durable.__mro__ if each is not object for name in vars(each)}
_OF_ONE_JOB = {
    name: name
    for name in ({"retry", "replace", "add_to_chord", "update_state", "progress", "run"} | _DURABLE)
    if not name.startswith("_") and callable(getattr(JobContext, name))
} | {"_call_step": "step", "_call_step_async": "step"}


@dataclasses.dataclass(slots=True)
class Call:
    """One call of a batch. A test can make it by hand: ``Call(args=[1])``.

    The repr leaves out arguments and headers, as that of a request does.
    """

    #: The arguments, of the types that the annotations of ``call_signature=`` say.
    args: Sequence[Any] = dataclasses.field(default=(), repr=False)
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    #: The id of the call's job.
    id: JobId | None = None
    headers: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    #: How often the job was retried before.
    retries: int = 0
    #: The context of the call's job.
    context: JobContext | None = dataclasses.field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, context: JobContext) -> Call:
        """Return the call of the job that *context* is about."""
        request = context.request
        return cls(
            request.args, request.kwargs, request.id, request.headers, request.retries, context
        )

    @property
    def revoked(self) -> bool:
        """Whether the job was revoked while the batch runs: its outcome no longer counts."""
        return self.context is not None and self.context.revoked


class BatchContext(JobContext):
    """The running batch, as ``current_job``. Its request has no id and no headers.

    Methods that belong to one job raise ``RuntimeError``.
    """

    def __init__(
        self,
        function: JobFunction[..., Any, Any],
        request: Callable[[], Request],
        jobs: Sequence[Claimed],
    ) -> None:
        super().__init__(function, request)
        self.jobs = jobs

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_ONE_JOB:
            raise RuntimeError(
                f"{_OF_ONE_JOB[name]}() belongs to one job, and a batch runs several. Return one "
                "result for each call, or raise BatchError({index: exception}) for calls that fail "
                "or are to run again."
            )
        return super().__getattribute__(name)


def jobs_of(context: JobContext) -> Sequence[Claimed]:
    """Return the jobs for which the body runs: one, or those of a batch; none for a direct call."""
    if isinstance(context, BatchContext):
        return context.jobs
    return [] if context.claimed is None else [context.claimed]
