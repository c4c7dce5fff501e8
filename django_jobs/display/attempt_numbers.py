"""The numbers of a job's attempts and retries as text."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..define import registry
from ..define.row_options import RowOptions, parse, read
from ..models import Job


def retries_line(job: Job) -> str:
    """Return ``2/3``: the job's retries, and how many it may have."""
    return f"{job.retries}{_out_of(job, 0)}"


def retries_words(job: Job) -> str:
    """Return ``2 of 3 retries``; empty for a job that is never retried."""
    most = _out_of(job, 0).removeprefix("/")
    if most:
        return _("%(retries)d of %(most)s retries") % {"retries": job.retries, "most": most}
    text = ngettext("%d retry", "%d retries", job.retries) % job.retries
    return text if job.retries else ""


def attempt_line(job: Job) -> str:
    """Return ``2/4``: the number of the last attempt, and how many there may be."""
    return f"{job.attempt}{_out_of(job, 1)}"


def _out_of(job: Job, first: int) -> str:
    function = registry.find(job.name)
    if function is None:
        return ""
    options = function.options
    if not (job.retries or options.autoretry_for or options.bind):
        return ""  # it is never retried
    limit = _own_options(job).call.max_retries
    if limit is None:
        limit = options.max_retries
    return "/∞" if limit is None else f"/{limit + first}"


def _own_options(job: Job) -> RowOptions:
    if "options" in job.get_deferred_fields():  # as with_argument_texts() leaves them
        return parse(vars(job).get("options_text"))
    return read(job.options)
