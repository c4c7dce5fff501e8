"""Observers hear of the ends of jobs, of schedules' ticks and of a worker's processes.

An integration registers one, besides its :mod:`~django_jobs.define.instrumentation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..models import Schedule
    from ..values import Outcome


class Observer:
    """What an integration may hear; by default it does nothing.

    Its methods must not raise: workers and beats call them.
    """

    def ended(self, outcome: Outcome, expected: bool) -> None:
        """Hear of the recorded end of an attempt, before the log; *expected*: it is in ``throws``.

        If the attempt began, it is called inside the context managers around the attempt, or with
        the context variables that they have set.
        """

    def tick_headers(self, schedule: Schedule) -> dict[str, Any]:
        """Return headers, as JSON, for the job of a schedule's tick."""
        return {}

    def process_begins(self) -> None:
        """Hear that a worker has forked this process."""

    def process_ends(self) -> None:
        """Hear that a forked process ends, or that another program takes its place.

        Python's ``atexit`` does not hear of it.
        """


#: In the order of their registration. It is replaced, never changed.
observers: tuple[Observer, ...] = ()


def register(observer: Observer) -> None:
    """Add *observer* in this process and in those that it forks."""
    global observers
    observers = (*observers, observer)


def unregister(observer: Observer) -> None:
    """Remove *observer*, if it is registered."""
    global observers
    observers = tuple(each for each in observers if each is not observer)
