"""Waiting for the end of jobs: look, pause, look again; each pause is longer than the last."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Iterator

from asgiref.sync import sync_to_async
from django.db import connections, transaction

from ..define.current import running
from ..exceptions import JobNotCommitted, WouldDeadlock
from ..ids import JobId

# Seconds between two looks: the first pause, the longest one, and the growth from one to the next.
_FIRST_PAUSE, _LAST_PAUSE, _GROWTH = 0.0005, 0.25, 1.15


class Commit:
    """Knows whether the transaction that enqueued a job has committed."""

    __slots__ = ("done",)

    def __init__(self, using: str) -> None:
        self.done = False
        transaction.on_commit(self._set, using=using)

    def _set(self) -> None:
        self.done = True

    def refuse_open(self, job_id: JobId) -> None:
        """Raise ``JobNotCommitted`` while the transaction that enqueued the job is open."""
        if not self.done:
            raise JobNotCommitted(
                f"Job {job_id} is not committed yet, so no worker can see it. Leave atomic() "
                "before you wait for it; ATOMIC_REQUESTS opens one around each view, and TestCase "
                "around each test. In a test call django_jobs.testing.run_jobs() before get()."
            )


def awaited_commit(using: str) -> Commit | None:
    """Return the commit of the transaction that is open on *using*, or None without one."""
    return Commit(using) if connections[using].in_atomic_block else None


def wait(
    has_ended: Callable[[], bool],
    refuse_uncommitted: Callable[[], None],
    timeout: float | None,
    allow_join: bool,
) -> bool:
    """Return whether *has_ended* became true within *timeout* seconds (None: no limit).

    Between two looks *refuse_uncommitted* may raise.
    """
    _warn_inside_job(allow_join)
    for pause in pauses(timeout):
        if has_ended():
            return True
        if pause:
            refuse_uncommitted()
        time.sleep(pause)
    return False


async def await_(
    has_ended: Callable[[], bool],
    refuse_uncommitted: Callable[[], None],
    timeout: float | None,
    allow_join: bool,
) -> bool:
    """Asynchronous twin of :func:`wait`."""
    _warn_inside_job(allow_join)
    for pause in pauses(timeout):
        if await sync_to_async(has_ended)():
            return True
        if pause:
            refuse_uncommitted()
        await asyncio.sleep(pause)
    return False


def pauses(timeout: float | None) -> Iterator[float]:
    """Yield the seconds to sleep after each look, until *timeout* seconds are over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        left = pause if deadline is None else deadline - time.monotonic()
        yield min(pause, max(left, 0))
        if deadline is not None and left <= 0:
            return
        pause = min(_LAST_PAUSE, pause * _GROWTH)


def _warn_inside_job(allow_join: bool) -> None:
    """Warn when the running job waits for another one."""
    context = running.get()
    if context is not None and not allow_join and not context.request.is_eager:
        warnings.warn(
            f"{context.name} waits for another job inside a job: if every slot does that, all wait "
            "for ever. Use a workflow, or pass allow_join=True.",
            WouldDeadlock,
            stacklevel=5,  # the caller of get()
        )
