"""Runs hundreds of plain functions that wait, each in a greenlet of gevent's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn
from uuid import UUID

import gevent
from gevent._hub_local import set_hub, set_loop
from gevent.hub import Hub
from gevent.timeout import Timeout

from ...exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerStopping
from ...run.environment import Environment
from ...run.outcome import Execution
from ...values import Outcome, Work
from ..isolation import watched_sessions
from . import sqlite_waits
from .base import Pool, PoolSetup
from .garbage import rare_collections
from .seats import Seats


class GreenletPool(Pool):
    """Time limits and ``terminate`` raise in a body where it waits.

    A body that computes holds up all others, the loop and the chores. It does not hold up the
    heartbeat, which is in a thread of the system.
    """

    def __init__(self, setup: PoolSetup) -> None:
        super().__init__(setup)
        sqlite_waits.begin()  # also for the loop and the chores, which begin before the pool
        assert setup.options.connections is not None
        self._seats = Seats(setup.options.connections)
        #: The attempt of each slot, and the bodies that run now.
        self.attempts: dict[int, Execution] = {}
        self.bodies: dict[tuple[UUID, int], Bodies] = {}

    def run(self) -> None:
        self.isolation.keep_shared()
        self.isolation.keep_signals()
        os.register_at_fork(after_in_child=_go_on_alone)
        # After a fork, libev opens descriptors anew in its next two turns. A job may take all.
        for _ in range(2):
            gevent.sleep(1e-9)
        slots = range(self.setup.options.slots)
        with contextlib.ExitStack() as stack:
            for part in (
                watched_sessions(), self._seats.governing(), no_event_loops(),
                rare_collections(len(slots)),
            ):  # fmt: skip
                stack.enter_context(part)
            gevent.joinall([gevent.spawn(self._run, slot) for slot in slots], raise_error=True)

    def terminate(self, job_id: UUID, claims: int) -> bool:
        known = super().terminate(job_id, claims)
        if known:
            gevent.get_hub().loop.run_callback(self._revoked, (job_id, claims))
        return known

    def _revoked(self, key: tuple[UUID, int]) -> None:
        if bodies := self.bodies.get(key):
            bodies.stop(WorkerStopping("The job was revoked."))

    def frames(self, slot: int, key: tuple[UUID, int]) -> list[FrameType]:
        raise ValueError("A gevent pool does not tell the stack of a job. Use another pool for it.")

    def _run(self, slot: int) -> None:
        with self._seats.member():
            bodies = Bodies(self, slot)
            self.work(slot, self.environment(slot, soft_limit=_soft_limit, stoppable=bodies))

    def run_one(self, slot: int, job: Work, environment: Environment) -> None:
        super().run_one(slot, job, environment)
        self.attempts.pop(slot, None)
        self._seats.leave()

    def _tell(self, slot: int, *, wait: bool) -> None:
        super()._tell(slot, wait=wait)
        self._seats.leave()

    def _begins(self, slot: int, execution: Execution) -> None:
        super()._begins(slot, execution)
        self.attempts[slot] = execution

    def _show_hooks(self, slot: int, outcome: Outcome) -> None:
        """Show the hooks without a limit: a kill would end the other jobs of the process."""
        job = outcome.job
        self.setup.shared_slots.begin(slot, job.id, job.claims, time.monotonic(), 0.0)


class Bodies:
    """A context around the bodies of one slot, in which a hard limit or a stop is raised."""

    def __init__(self, pool: GreenletPool, slot: int) -> None:
        self._pool = pool
        self._slot = slot
        self._greenlet: Any = None
        self._key: Any = None
        self._timer: Any = None
        #: Why the body was told to end.
        self._reason: BaseException | None = None

    def __enter__(self) -> None:
        execution = self._pool.attempts[self._slot]
        self._reason = None
        self._greenlet = gevent.getcurrent()
        self._key = execution.job.id, execution.job.claims
        self._pool.bodies[self._key] = self
        if limit := execution.time_limit:
            left = max(0.0, execution.began + limit - time.monotonic())
            self._timer = gevent.get_hub().loop.timer(left)
            self._timer.start(self.stop, TimeLimitExceeded(f"The job ran longer than {limit} s."))

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        del self._pool.bodies[self._key]
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        reason, self._reason = self._reason, None
        # After a hard limit the body has no say. A body that outlives a revoke may end as it likes.
        is_over = isinstance(reason, TimeLimitExceeded) or isinstance(error, gevent.GreenletExit)
        if reason is not None and is_over:
            raise reason from None

    def stop(self, reason: BaseException) -> None:
        """Raise in the body, where it waits; only the hub calls this."""
        self._reason = reason
        self._greenlet.throw(gevent.GreenletExit())


def _go_on_alone() -> None:
    """Leave the parent's greenlets in a child that a job forks: they would run there, too."""
    set_hub(None)
    set_loop(None)
    set_hub(Hub(default=False))


@contextlib.contextmanager
def _soft_limit(seconds: float) -> Iterator[None]:
    limit = SoftTimeLimitExceeded("The job ran longer than its soft_time_limit.")
    timeout = Timeout.start_new(seconds, limit)
    try:
        yield
    finally:
        timeout.close()


@contextlib.contextmanager
def no_event_loops() -> Iterator[None]:
    """Refuse event loops: while one waits, the ORM refuses to work in all greenlets beside it."""
    kept = asyncio.new_event_loop
    asyncio.new_event_loop = asyncio.events.new_event_loop = _refuse
    try:
        yield
    finally:
        asyncio.new_event_loop = asyncio.events.new_event_loop = kept


def _refuse() -> NoReturn:
    raise RuntimeError(
        "A gevent pool runs no event loop: its greenlets share one thread, in which only one loop "
        "can run. Use another pool for jobs that call asyncio.run() or async_to_sync()."
    )
