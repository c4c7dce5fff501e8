"""Assertions about what was enqueued."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from ..api.job import JobFunction
from ..define import registry
from ..define.hidden_arguments import rules_of
from ..define.sensitive import shown_arguments
from ..exceptions import ArgumentError
from ..moments import aware, seconds
from ..serialization import dumps, loads, type_of
from ..suggest import functions_meant, question
from .captured import CapturedJobs, EnqueuedJob, captured_jobs, enqueued
from .running import arun_jobs, run_jobs

# The clock of the database is not that of the test.
_TOLERANCE_SECONDS = 1.0
# A message lists no more jobs.
_LISTED = 20

Function = JobFunction[..., Any, Any] | str | None


def assert_enqueued(
    function: Function = None,
    /,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    countdown: float | datetime.timedelta | None = None,
    eta: datetime.datetime | None = None,
    count: int | None = None,
    among: CapturedJobs | None = None,
) -> list[EnqueuedJob]:
    """Assert that a job of *function* was enqueued, with these values; return all such jobs.

    Values that are not given are not looked at. *args* and *kwargs* are compared as the job gets
    them, after JSON; ``mock.ANY`` fits everything. *countdown* (seconds) and *eta* may differ by a
    second. With *count* there must be so many such jobs, otherwise at least one.

    Looks at the jobs of *among*; by default at those of the open :func:`captured_jobs`, and without
    one at the rows of all jobs, also of those that have ended. Raises ``AssertionError``, which
    lists what was enqueued.
    """
    wanted = _Wanted(function, args, kwargs, queue, priority, countdown, eta)
    jobs = enqueued() if among is None else list(among)
    found = [job for job in jobs if wanted.fits(job)]
    if len(found) != count if count is not None else not found:
        expected = "at least one job" if count is None else _jobs(count)
        raise AssertionError(f"Expected {expected} {wanted}, found {len(found)}.{_listed(jobs)}")
    return found


def assert_not_enqueued(
    function: Function = None,
    /,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
    among: CapturedJobs | None = None,
) -> None:
    """Assert that no such job was enqueued; without a *function*, none at all.

    It looks where :func:`assert_enqueued` does.
    """
    assert_enqueued(function, args=args, kwargs=kwargs, queue=queue, count=0, among=among)


class JobsTestMixin:
    """The helpers of :mod:`django_jobs.testing` as methods of a test case."""

    run_jobs = staticmethod(run_jobs)
    arun_jobs = staticmethod(arun_jobs)
    captured_jobs = staticmethod(captured_jobs)
    assertEnqueued = staticmethod(assert_enqueued)
    assertNotEnqueued = staticmethod(assert_not_enqueued)


class _Wanted:
    """The job that an assertion looks for."""

    def __init__(
        self,
        function: Function,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        queue: str | None,
        priority: int | None,
        countdown: float | datetime.timedelta | None,
        eta: datetime.datetime | None,
    ) -> None:
        self.name = None if function is None else _name_of(function)
        if not (args is None or isinstance(args, (list, tuple))):
            raise TypeError(f"args must be a list or a tuple of arguments, got {type_of(args)}.")
        if not (kwargs is None or isinstance(kwargs, Mapping)):
            raise TypeError(f"kwargs must be a dict of arguments, got {type_of(kwargs)}.")
        self.args = None if args is None else list(args)
        self.kwargs = None if kwargs is None else dict(kwargs)
        self.queue, self.priority = queue, priority
        self.countdown = None if countdown is None else seconds(countdown, "countdown")
        self.eta = None if eta is None else aware(eta, "eta")

    def fits(self, job: EnqueuedJob) -> bool:
        return (
            self.name in (None, job.name)
            and any(self._has_arguments(job, taken) for taken in (0, 1))
            and self.queue in (None, job.queue)
            and self.priority in (None, job.priority)
            and (self.countdown is None or _close(self.countdown, job.countdown))
            and (
                self.eta is None
                or (job.eta is not None and _close(0.0, (job.eta - self.eta).total_seconds()))
            )
        )

    def _has_arguments(self, job: EnqueuedJob, taken: int) -> bool:
        """Return whether the arguments are the job's; *taken* results come before them."""
        function = registry.find(job.name)
        args, kwargs = self.args or [], self.kwargs or {}
        seen_args, seen_kwargs = job.args, job.kwargs
        if function is not None and (types := function.argument_types) is not None:
            args, kwargs = types.encode(args, kwargs, taken)
            # Equal values may have different JSON, as the same moment in two time zones.
            seen_args, seen_kwargs = types.seen(job.args, job.kwargs, taken)
        return (self.args in (None, seen_args) or _same(args, job.args)) and (
            self.kwargs in (None, seen_kwargs) or _same(kwargs, job.kwargs)
        )

    def __str__(self) -> str:
        rules = rules_of(self.name) if self.name is not None else rules_of("")
        shown = shown_arguments(rules, self.args or [], self.kwargs or {})
        values = {
            "args": shown.args if self.args is not None else None,
            "kwargs": shown.kwargs if self.kwargs is not None else None,
            "queue": self.queue,
            "priority": self.priority,
            "countdown": self.countdown,
            "eta": self.eta,
        }
        named = [f"{key}={value!r}" for key, value in values.items() if value is not None]
        name = self.name or "of any function"
        return f"{name} with {', '.join(named)}" if named else name


def _name_of(function: object) -> str:
    if isinstance(function, JobFunction):
        return function.name
    if not isinstance(function, str):
        raise TypeError(
            f"An assertion takes a job function or its name, got {type_of(function)}. "
            "Decorate it with @job."
        )
    if registry.find(function) is None:
        known = functions_meant(function, (each.name for each in registry.every()))
        raise ValueError(f"No job function is named {function!r}.{question(known)}")
    return function


def _same(wanted: Any, stored: Any) -> bool:
    if wanted == stored:
        return True
    with contextlib.suppress(ArgumentError):
        return bool(loads(dumps(wanted, where="args", max_bytes=2**30)) == stored)
    return False


def _close(wanted: float, found: float | None) -> bool:
    return found is not None and abs(found - wanted) <= _TOLERANCE_SECONDS


def _jobs(count: int) -> str:
    return {0: "no job", 1: "1 job"}.get(count, f"{count} jobs")


def _listed(jobs: Sequence[EnqueuedJob]) -> str:
    if not jobs:
        return " Nothing was enqueued."
    lines = [f"\n  {job!r}" for job in jobs[-_LISTED:]]
    more = len(jobs) - len(lines)
    return f" Enqueued were:{''.join(lines)}" + (f"\n  and {more} earlier ones" if more else "")
