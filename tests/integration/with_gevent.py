"""What tests of a gevent pool need: its packages, and a queue without ``async def`` functions."""

from __future__ import annotations

import importlib.util

import pytest

from django_jobs.models import Job
from tests.integration.greenlets import QUEUE

WITH_GEVENT = pytest.mark.skipif(
    importlib.util.find_spec("gevent") is None or importlib.util.find_spec("pymysql") is None,
    reason="gevent or PyMySQL is not installed",
)


def to_greenlets() -> tuple[str, ...]:
    """Move all jobs to a queue for which no ``async def`` is declared; return the flags for it."""
    Job.objects.update(queue=QUEUE)
    return ("-Q", QUEUE)
