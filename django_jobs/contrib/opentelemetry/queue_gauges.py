"""Gauges of the queues, which read the database whenever the SDK collects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from django.db import Error, connections
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from .names import DESTINATION, DJANGO_JOBS, SYSTEM

_log = logging.getLogger("django_jobs.opentelemetry")

#: The number of ready jobs of a queue, at most 10,000, and the seconds that its oldest has waited.
_Numbers = dict[str, tuple[int, float]]


def create_queue_gauges(meter: Meter, is_on: Callable[[], bool]) -> None:
    """Create the gauges. Without *is_on* they observe nothing: a meter keeps its instruments."""

    def depth(options: CallbackOptions) -> Iterable[Observation]:
        for queue, (number, _seconds) in _read(is_on).items():
            yield Observation(number, {SYSTEM: DJANGO_JOBS, DESTINATION: queue})

    def oldest_age(options: CallbackOptions) -> Iterable[Observation]:
        for queue, (_number, seconds) in _read(is_on).items():
            yield Observation(seconds, {SYSTEM: DJANGO_JOBS, DESTINATION: queue})

    meter.create_observable_gauge(
        "django_jobs.queue.depth", [depth], "{job}", "Ready jobs, at most 10000."
    )
    meter.create_observable_gauge(
        "django_jobs.queue.oldest_age", [oldest_age], "s", "Wait of the oldest ready job."
    )


def _read(is_on: Callable[[], bool]) -> _Numbers:
    if not is_on():
        return {}
    # Models cannot be imported before Django's apps are ready.
    from ...define.routing import databases
    from ...metrics.snapshot import overview

    found: _Numbers = {}
    try:
        # Both gauges, and other readers, share a snapshot for some seconds.
        for using in databases():
            for state in overview(using).queues:
                number, seconds = found.get(state.name, (0, 0.0))
                oldest = max(seconds, state.oldest_seconds)
                found[state.name] = (number + state.ready, oldest)
    except Error as error:
        _log.warning("queues not measured error=%s", type(error).__name__)
        return {}
    finally:
        # The SDK collects in a thread of its own, where no request ends.
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:  # of a test that collects
                connection.close_if_unusable_or_obsolete()
    return found
