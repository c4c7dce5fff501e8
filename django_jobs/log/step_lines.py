"""The log lines of a job's steps."""

from __future__ import annotations

import logging

from ..failure import one_line
from ..values import Claimed, Failure
from .attributes import of

_jobs = logging.getLogger("django_jobs.job")


def step_retried(job: Claimed, key: str, problem: Failure, delay: float | None) -> None:
    """Log that a step failed and is called again, by a later run of its job."""
    _jobs.warning(
        "step retried name=%s id=%s attempt=%d step=%s%s error=%s: %s",
        one_line(job.name),
        job.id,
        job.retries + 1,
        one_line(key),
        "" if delay is None else f" delay={delay:.1f}s",
        problem.error_class,
        problem.message[:500],
        extra=of(job),
    )
