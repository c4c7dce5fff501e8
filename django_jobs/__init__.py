"""Background jobs for Django, in the project's own database."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.approvals import aanswer, answer, approval_url
    from .api.decorator import job
    from .api.group_result import GroupResult
    from .api.job import JobFunction
    from .api.result import AsyncResult
    from .api.result_set import ResultSet
    from .define.batch import Call
    from .define.canvas import (
        Canvas,
        Chain,
        Chord,
        Group,
        Signature,
        chain,
        chord,
        group,
        signature,
    )
    from .define.context import JobContext
    from .define.current import current_job, progress
    from .define.decision import Decision
    from .define.schedule_spec import add_periodic_task, crontab, solar
    from .define.step_function import step
    from .events.send import asend_event, send_event
    from .exceptions import (
        ArgumentError,
        BatchError,
        DuplicateKey,
        EventTimeout,
        Ignore,
        JobDoesNotExist,
        JobFailed,
        JobRevoked,
        MaxRetriesExceededError,
        NoOpenQuestion,
        QueueFull,
        Reject,
        Replaced,
        ResultTimeout,
        Retry,
        Snooze,
        SoftTimeLimitExceeded,
        StepError,
        StepMismatch,
        TimeLimitExceeded,
        UpstreamFailed,
    )
    from .status import Status

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "AsyncResult",
    "BatchError",
    "Call",
    "Canvas",
    "Chain",
    "Chord",
    "Decision",
    "DuplicateKey",
    "EventTimeout",
    "Group",
    "GroupResult",
    "Ignore",
    "JobContext",
    "JobDoesNotExist",
    "JobFailed",
    "JobFunction",
    "JobRevoked",
    "MaxRetriesExceededError",
    "NoOpenQuestion",
    "QueueFull",
    "Reject",
    "Replaced",
    "ResultSet",
    "ResultTimeout",
    "Retry",
    "Signature",
    "Snooze",
    "SoftTimeLimitExceeded",
    "Status",
    "StepError",
    "StepMismatch",
    "TimeLimitExceeded",
    "UpstreamFailed",
    "aanswer",
    "add_periodic_task",
    "answer",
    "approval_url",
    "asend_event",
    "chain",
    "chord",
    "crontab",
    "current_job",
    "group",
    "job",
    "progress",
    "send_event",
    "signature",
    "solar",
    "step",
]

_PLACES = {
    **dict.fromkeys(
        ("Canvas", "Chain", "Chord", "Group", "Signature", "chain", "chord", "group", "signature"),
        "define.canvas",
    ),
    **dict.fromkeys(("aanswer", "answer", "approval_url"), "api.approvals"),
    **dict.fromkeys(("asend_event", "send_event"), "events.send"),
    "AsyncResult": "api.result",
    "Call": "define.batch",
    "Decision": "define.decision",
    "GroupResult": "api.group_result",
    "ResultSet": "api.result_set",
    "JobContext": "define.context",
    "JobFunction": "api.job",
    "Status": "status",
    "add_periodic_task": "define.schedule_spec",
    "crontab": "define.schedule_spec",
    "current_job": "define.current",
    "job": "api.decorator",
    "progress": "define.current",
    "solar": "define.schedule_spec",
    "step": "define.step_function",
}


def __getattr__(name: str) -> Any:
    # Django imports this package before models can be imported, and most names need models.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from django.core.exceptions import AppRegistryNotReady

    try:
        return getattr(import_module(f".{_PLACES.get(name, 'exceptions')}", __name__), name)
    except AppRegistryNotReady as error:
        raise AppRegistryNotReady(
            f"django_jobs.{name} was imported before Django was set up. Call django.setup() first "
            "in a program of your own. An app imports its jobs in jobs.py, tasks.py or ready(), "
            "not in its __init__.py."
        ) from error
