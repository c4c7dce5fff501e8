"""The reasons why jobs wait, for a list and for one job, without secrets."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from ..api.waiting_reason import WaitingReason
from ..api.waiting_reasons import waiting_reasons
from ..models import Job
from .job_text import Payload, listed_text

_KEY = "waiting_reason"


def with_reasons(jobs: Iterable[Job]) -> None:
    """Keep the reasons in rows of ``with_argument_texts()``; a few statements for all of them."""
    rows = {job.pk: job for job in jobs}
    for job_id, reason in waiting_reasons(rows.values()).items():
        job = rows[job_id]
        vars(job)[_KEY] = reason.blanked(functools.partial(listed_text, job))


def listed_reason(job: Job) -> WaitingReason | None:
    """Return the reason of a row from :func:`with_reasons`; None if it waits for nothing."""
    reason: WaitingReason | None = vars(job).get(_KEY)
    return reason


def reason_of(job: Job, payload: Payload) -> WaitingReason | None:
    """Return the reason of one job, or None if it does not wait."""
    reason = waiting_reasons([job]).get(job.pk)
    return None if reason is None else reason.blanked(payload.text)
