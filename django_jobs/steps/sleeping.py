"""A job sleeps: its worker is free until the time has come, and the job goes on from there."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from ..moments import aware, seconds
from .journal import journal_of
from .recorded import State
from .suspension import Suspension

if TYPE_CHECKING:
    from ..define.context import JobContext

_KIND = "sleep"


def sleep(context: JobContext, length: Any, key: str) -> None:
    """Return when *length*, seconds or a timedelta, is over since a run first came here."""
    delay = seconds(length, "sleep()", least=0.0)
    _suspend(context, "sleep", key, delay=delay)


def sleep_until(context: JobContext, moment: Any, key: str) -> None:
    """Return when the first *moment* with which a run came here is over."""
    _suspend(context, "sleep_until", key, run_at=aware(moment, "sleep_until()"))


def _suspend(
    context: JobContext, verb: str, key: str, *, delay: float | None = None,
    run_at: datetime.datetime | None = None,
) -> None:  # fmt: skip
    journal = journal_of(context, verb)
    step = journal.use(key, _KIND)
    if step.state == State.DONE:
        return
    if step.is_due:
        journal.record(step, None)
        return
    if step.wake_at is not None:
        # The job runs before its time: an operator retried it.
        delay, run_at = None, step.wake_at
    journal.suspend(Suspension(step, delay=delay, run_at=run_at))
