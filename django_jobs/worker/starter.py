"""Hands claimed jobs to the pool, as far as their limits allow."""

from __future__ import annotations

from collections.abc import Callable

from ..limits.admission import Admission
from ..run.execute import execute_refusal
from ..values import Claimed, Outcome
from .buffer import JobBuffer
from .loop_state import LoopState


class Starter:
    """Puts claimed jobs into the buffer.

    *write* records the jobs whose key functions failed; *on_put* is called when the buffer has
    more jobs than before.
    """

    def __init__(
        self,
        state: LoopState,
        buffer: JobBuffer,
        *,
        write: Callable[[list[Outcome]], None],
        on_put: Callable[[], None],
    ) -> None:
        self._state = state
        self._buffer = buffer
        self._write = write
        self._on_put = on_put
        self._admission = Admission(state.using)

    def start(self, jobs: list[Claimed]) -> bool:
        """Put the jobs that may start into the buffer; return whether there was one."""
        admitted, failed = self._admission.admit(self._state.worker_id, jobs)
        if failed:
            self._write([execute_refusal(job, error) for job, error in failed])
        if admitted:
            self._buffer.put(admitted)
            self._on_put()
        return bool(admitted)
