"""Background jobs for Django, in the project's own database."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import JobContext, current_job, progress
    from .define import JobFunction, job
    from .exceptions import (
        ArgumentError,
        DuplicateKey,
        Ignore,
        JobDoesNotExist,
        JobFailed,
        JobRevoked,
        MaxRetriesExceededError,
        QueueFull,
        Reject,
        ResultTimeout,
        Retry,
        Snooze,
        SoftTimeLimitExceeded,
        TimeLimitExceeded,
    )
    from .result import AsyncResult
    from .schedules import add_periodic_task, crontab, solar
    from .status import Status

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "AsyncResult",
    "DuplicateKey",
    "Ignore",
    "JobContext",
    "JobDoesNotExist",
    "JobFailed",
    "JobFunction",
    "JobRevoked",
    "MaxRetriesExceededError",
    "QueueFull",
    "Reject",
    "ResultTimeout",
    "Retry",
    "Snooze",
    "SoftTimeLimitExceeded",
    "Status",
    "TimeLimitExceeded",
    "add_periodic_task",
    "crontab",
    "current_job",
    "job",
    "progress",
    "solar",
]

_PLACES = {
    "AsyncResult": "result",
    "JobContext": "context",
    "JobFunction": "define",
    "Status": "status",
    "add_periodic_task": "schedules",
    "crontab": "schedules",
    "current_job": "context",
    "job": "define",
    "progress": "context",
    "solar": "schedules",
}


def __getattr__(name: str) -> Any:
    # Django imports this package before models may be imported, and most of it stands on models.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES.get(name, 'exceptions')}", __name__), name)
