"""How long a row is kept once its job has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..conf import get_settings
from ..status import ENDED, Status

if TYPE_CHECKING:
    from ..api.job import JobFunction


def keep_seconds(function: JobFunction[..., Any, Any] | None, status: Status) -> float | None:
    """Return how long a job that ended so is kept; None is for ever, or that it has not ended."""
    if status not in ENDED:
        return None
    settings = get_settings()
    seconds = settings.failure_expires if status == Status.FAILURE else settings.result_expires
    if function is not None and function.options.result_expires != "default":
        seconds = function.options.result_expires
    if function is not None and status == Status.SUCCESS and seconds is not None:
        # It answers for its key for so long.
        seconds = max(seconds, function.options.unique_for or 0)
    return seconds
