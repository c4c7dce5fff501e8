"""Lets tests set the integration with Sentry up again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from django_jobs.contrib.sentry.instrument import SentryInstrument
from django_jobs.define import instrumentation


@contextlib.contextmanager
def instrumented() -> Iterator[Callable[[], None]]:
    """Yield what lets the integration trace, which the SDK sets up once in a process."""
    before = instrumentation.instrumentations

    def instrument() -> None:
        if not any(isinstance(each, SentryInstrument) for each in instrumentation.instrumentations):
            instrumentation.register(SentryInstrument())

    yield instrument
    # With a tracer workers tell of the ends of short jobs one by one.
    instrumentation.instrumentations = before
