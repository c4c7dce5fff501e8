"""The handle on a job that ran in this process."""

from __future__ import annotations

from typing import Any, TypeVar

from ..models import Job
from ..models.attempt_log import LogLine, read_lines
from ..values import KeptLines
from .result import AsyncResult

T = TypeVar("T")


class EagerResult(AsyncResult[T]):
    """The result of a job that ran in this process. Its row exists only in memory."""

    def __init__(
        self,
        row: Job,
        error: BaseException | None,
        traceback: str,
        log: KeptLines | None = None,
    ) -> None:
        super().__init__(row.pk, name=row.name)
        self._ended = row
        self.error = error
        self._traceback = traceback
        self._log = log
        #: The result of the job that caused the failure: itself, or one before it in a workflow.
        self.origin: EagerResult[Any] = self

    def _round(self) -> int:
        return 0  # nobody retries it

    def _await_end(self, timeout: float | None, allow_join: bool) -> None:
        """Return at once: the job has run."""

    async def _aawait_end(self, timeout: float | None, allow_join: bool) -> None: ...

    def _value(self, propagate: bool) -> Any:
        if self.error is not None:
            if propagate:
                raise self.error
            return self.error
        return super()._value(propagate)

    @property
    def result(self) -> Any:
        return self._value(propagate=False)

    @property
    def info(self) -> Any:
        return self.result

    @property
    def traceback(self) -> str | None:
        return self._traceback or None

    @property
    def log(self) -> list[LogLine]:
        return list(read_lines(self._log.lines)) if self._log else []

    def forget(self) -> None:
        """Do nothing: there is no row to delete."""

    def revoke(self, *, terminate: bool = False, workflow: bool = False) -> bool:
        """Return False: the job has ended."""
        return False
