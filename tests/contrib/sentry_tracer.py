"""Lets tests set the integration with Sentry up again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from django_jobs.contrib.sentry.instrument import SentryInstrument
from django_jobs.define import instrumentation, observers


@contextlib.contextmanager
def instrumented() -> Iterator[Callable[[], None]]:
    """Yield what lets the integration trace, which the SDK sets up once in a process."""
    before = instrumentation.instrumentations, observers.observers

    def instrument() -> None:
        if not any(isinstance(each, SentryInstrument) for each in observers.observers):
            instrument = SentryInstrument()
            instrumentation.register(instrument)
            observers.register(instrument)

    yield instrument
    # With a tracer workers tell of the ends of short jobs one by one.
    instrumentation.instrumentations, observers.observers = before
