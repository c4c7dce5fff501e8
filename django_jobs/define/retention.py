"""How long the rows of ended jobs are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..conf import get_settings
from ..status import ENDED, Status

if TYPE_CHECKING:
    from ..api.job import JobFunction


def keep_seconds(function: JobFunction[..., Any, Any] | None, status: Status) -> float | None:
    """Return for how many seconds an ended job is kept; None: for ever, or it has not ended."""
    if status not in ENDED:
        return None
    settings = get_settings()
    seconds = settings.failure_expires if status == Status.FAILURE else settings.result_expires
    if function is None:
        return seconds
    options = function.options
    if options.result_expires != "default":
        seconds = options.result_expires
    if options.unique_for and seconds is not None and status == Status.SUCCESS:
        # The row holds its unique key for that time.
        seconds = max(seconds, options.unique_for)
    return seconds
