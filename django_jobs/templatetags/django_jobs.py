"""Template tags: ``{% load django_jobs %}``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import template

from ..api.result import AsyncResult
from ..exceptions import JobDoesNotExist
from ..web.state import state_of

register = template.Library()


@register.inclusion_tag("django_jobs/progress.html")
def job_progress(
    result: AsyncResult[Any] | UUID | str, *, max_age: float = 86_400.0, reload: bool = False
) -> dict[str, Any]:
    """Show a progress bar with a text, which updates itself until the job ends.

    *result* is an ``AsyncResult`` or the job's id. The page may request updates for *max_age*
    seconds. With *reload*, the page reloads when the job has ended. Without JavaScript, the bar
    shows the progress at the time of the request. For a deleted job, the tag renders nothing.
    """
    if not isinstance(result, AsyncResult):
        result = AsyncResult(result)
    try:
        state = state_of(result.job)
    except JobDoesNotExist:
        return {"state": None}
    return {"state": state, "url": result.status_url(max_age=max_age), "reload": reload}
