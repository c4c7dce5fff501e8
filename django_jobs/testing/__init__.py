"""Runs jobs in tests, and asserts what was enqueued; see ``docs/testing.rst``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertions import JobsTestMixin, assert_enqueued, assert_not_enqueued
    from .captured import CapturedJobs, EnqueuedJob, captured_jobs
    from .live import LiveWorker, live_worker
    from .overriding import override_jobs
    from .running import RanJob, arun_jobs, run_jobs

__all__ = [
    "CapturedJobs",
    "EnqueuedJob",
    "JobsTestMixin",
    "LiveWorker",
    "RanJob",
    "arun_jobs",
    "assert_enqueued",
    "assert_not_enqueued",
    "captured_jobs",
    "live_worker",
    "override_jobs",
    "run_jobs",
]

_PLACES = {
    **dict.fromkeys(("JobsTestMixin", "assert_enqueued", "assert_not_enqueued"), "assertions"),
    **dict.fromkeys(("CapturedJobs", "EnqueuedJob", "captured_jobs"), "captured"),
    **dict.fromkeys(("LiveWorker", "live_worker"), "live"),
    **dict.fromkeys(("RanJob", "arun_jobs", "run_jobs"), "running"),
    "override_jobs": "overriding",
}


def __getattr__(name: str) -> Any:
    # pytest imports the plugin before Django is set up, and most names need models.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
