"""Parts of pages: ``{% load django_jobs %}``."""

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
    """A progress bar with a text, which keeps itself up to date until the job ends.

    *result* is the job's handle or its id. The page may ask for *max_age* seconds; with *reload*
    it is loaded anew when the job has ended. Without JavaScript it shows how far the job was. A
    job that is gone leaves the place empty.
    """
    if not isinstance(result, AsyncResult):
        result = AsyncResult(result)
    try:
        state = state_of(result.job)
    except JobDoesNotExist:
        return {"state": None}
    return {"state": state, "url": result.status_url(max_age=max_age), "reload": reload}
