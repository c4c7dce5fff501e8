"""Hands claimed jobs to the pool, as far as their limits allow."""

from __future__ import annotations

from collections.abc import Callable

from ..define import registry
from ..limits.admission import Admission
from ..run.execute import execute_refusal
from ..values import Batch, Claimed, Outcome, Work
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
        if admitted := self._admitted(jobs):
            # A job that runs alone after a crash may be a call of a batch.
            self._buffer.put(map(_work, admitted) if registry.batched else admitted)
            self._on_put()
        return bool(admitted)

    def start_batch(self, jobs: list[Claimed]) -> None:
        """Put those of *jobs* that may start into the buffer, as one batch."""
        if admitted := self._admitted(jobs):
            self._buffer.put([Batch(admitted)])
            self._on_put()

    def _admitted(self, jobs: list[Claimed]) -> list[Claimed]:
        admitted, failed = self._admission.admit(self._state.worker_id, jobs)
        if failed:
            self._write([execute_refusal(job, error) for job, error in failed])
        return admitted


def _work(job: Claimed) -> Work:
    return Batch([job]) if job.name in registry.batched else job
