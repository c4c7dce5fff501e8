"""Turns the end of the body of a batch into an outcome for each of its jobs."""

from __future__ import annotations

import contextvars
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ..define.context import JobContext
from ..exceptions import BatchError, WorkerStopping
from ..redaction import Secrets
from ..serialization import type_of
from ..status import Status
from ..values import Claimed, Outcome
from .attempt import enter, name_in_records
from .environment import Environment
from .hooks import is_interrupt, start
from .middleware import Around
from .outcome import Execution, failed, raised, returned
from .outside_body import escaped
from .prepare import prepare


class _Unusable(Exception):
    """The body returned what cannot be the results of its calls; *reason* says why."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__()
        self.reason = reason


class Member:
    """The attempt at one job of a batch. Its hooks run in context variables of their own."""

    def __init__(self, job: Claimed, environment: Environment) -> None:
        self.job = job
        self.variables = contextvars.copy_context()
        self.execution: Execution | None = None
        #: How the attempt ended; None while the body is to run for it.
        self.outcome: Outcome | None = None
        self.around: Around | None = None
        self.variables.run(self._prepare, environment)

    def _prepare(self, environment: Environment) -> None:
        name_in_records(self.job, environment)
        try:
            prepared = prepare(self.job, environment)
        except BaseException as error:  # in a base= class
            if is_interrupt(error):
                raise
            self.outcome = escaped(self.job, error)
            return
        if isinstance(prepared, Outcome):
            self.outcome = prepared
            return
        self.execution = prepared
        enter(prepared)
        if environment.middleware:
            self.around = Around(prepared, environment.middleware)

    @property
    def ended(self) -> Outcome:
        """The outcome of an attempt that has ended."""
        assert self.outcome is not None
        return self.outcome

    @property
    def context(self) -> JobContext:
        assert self.execution is not None
        return self.execution.context

    def start(self) -> None:
        """Call the hooks before the body."""
        assert self.execution is not None
        self.variables.run(start, self.execution)

    def returned(self, value: Any) -> Outcome:
        return self._end(returned, value)

    def raised(self, error: BaseException) -> Outcome:
        if self.around is not None:
            self.around.error = error
        return self._end(raised, error)

    def failed(self, error: BaseException) -> Outcome:
        """End as FAILURE, whatever the job's policy for retries says."""
        if self.around is not None:
            self.around.error = error
        return self._end(failed, error)

    def _end(self, decide: Callable[[Execution, Any], Outcome], value: Any) -> Outcome:
        assert self.execution is not None
        # A retry_backoff function is code of the project.
        self.outcome = self.variables.run(decide, self.execution, value)
        self.outcome.execution = self.execution
        return self.outcome


@dataclasses.dataclass(slots=True)
class BatchExecution(Execution):
    """The attempt at all jobs of a batch."""

    members: list[Member] = dataclasses.field(default_factory=list)

    def ends(self, call: Callable[[], Any]) -> list[Outcome]:
        try:
            value = call()
        except BatchError as error:
            return self.partly(error)
        return self.results(value)

    def results(self, value: Any) -> list[Outcome]:
        """Return the outcomes of a body that returned *value*."""
        results = self._one_each(value)
        pairs = zip(self.members, results, strict=True)
        return self._stored([member.returned(result) for member, result in pairs], ())

    def partly(self, error: BatchError) -> list[Outcome]:
        """Return the outcomes of a body that raised *error*."""
        number = len(self.members)
        for index in error.errors:
            if not 0 <= index < number:
                raise _Unusable(
                    IndexError(
                        f"{self.job.name} raised BatchError for call {index} of {number}. Indices "
                        "count from 0 in the list of calls."
                    )
                )
        results = self._one_each(error.results)
        outcomes = [
            member.raised(error.errors[index])
            if index in error.errors
            else member.returned(results[index])
            for index, member in enumerate(self.members)
        ]
        return self._stored(outcomes, error.errors)

    def all_raised(self, error: BaseException) -> list[Outcome]:
        """Return the outcomes of a body that raised *error* as a whole."""
        if isinstance(error, _Unusable):
            return [member.failed(error.reason) for member in self.members]
        return [member.raised(error) for member in self.members]

    def secrets(self) -> Secrets:
        assert self.context.batch_secrets is not None
        return self.context.batch_secrets(None)

    def may_commit(self, outcomes: Sequence[Outcome]) -> bool:
        return True

    def lost(self) -> BaseException:
        # The others run again: what the body wrote for them is rolled back.
        return WorkerStopping("A job of the batch is no longer this worker's.")

    def _one_each(self, value: Any) -> Sequence[Any]:
        number = len(self.members)
        if value is None:
            return [None] * number
        if not isinstance(value, (list, tuple)):
            raise _Unusable(
                TypeError(
                    f"{self.job.name} returned {type_of(value)} for a batch. Return a list with "
                    "one result for each call, in order, or None."
                )
            )
        if len(value) != number:
            raise _Unusable(
                ValueError(
                    f"{self.job.name} returned {len(value)} results for {number} calls. Return one "
                    "result for each call, in order."
                )
            )
        return value

    def _stored(self, outcomes: list[Outcome], named: Any) -> list[Outcome]:
        """Raise if an atomic batch has a result that cannot be stored: its writes are one unit."""
        if self.function.options.atomic:
            for index, outcome in enumerate(outcomes):
                if outcome.status == Status.FAILURE and index not in named:
                    raise _Unusable(outcome.value)
        return outcomes
