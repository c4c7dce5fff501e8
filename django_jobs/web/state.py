"""The state of one job as JSON, for pages outside of the admin: without its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..define.envelopes import ENCRYPTED
from ..display.job_text import Unreadable, is_number, plain, shown_payload
from ..models import Job
from ..status import Status

_TEXTS: dict[str, Any] = {
    Status.WAITING: gettext_lazy("Waiting for other jobs"),
    Status.SCHEDULED: gettext_lazy("Waiting for its time"),
    Status.PENDING: gettext_lazy("Waiting for a worker"),
    Status.STARTED: gettext_lazy("Running"),
    Status.RETRY: gettext_lazy("Failed, and will be tried again"),
    Status.SUCCESS: gettext_lazy("Done"),
    Status.FAILURE: gettext_lazy("Failed"),
    Status.REVOKED: gettext_lazy("Revoked"),
}


def state_of(job: Job, *, shows_result: bool = False) -> dict[str, Any]:
    """Return the job's state, with a text in the language of the request.

    The keys are ``id``, ``status``, ``ended`` (a bool), ``text``, ``done``, ``total``, ``message``,
    ``enqueued_at``, ``started_at`` and ``ended_at``; with *shows_result* also ``result``,
    ``error_class`` and ``error_message``.
    """
    # Pages poll twice a second, and a result may have a megabyte: read it only to show it.
    with_result = shows_result and job.has_ended
    shown = shown_payload(job, ("result", "progress") if with_result else ("progress",))
    done, total, message = _progress(shown.progress)
    state = {
        "id": str(job.pk),
        "status": str(job.status),
        "ended": job.has_ended,
        "text": _text(job, done, total, message),
        "done": done,
        "total": total,
        "message": message,
        "enqueued_at": job.enqueued_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }
    if shows_result:
        result = shown.result
        state["result"] = str(result) if isinstance(result, Unreadable) else result
        state["error_class"], state["error_message"] = job.error_class, shown.message
    return state


def _progress(progress: Any) -> tuple[float | None, float | None, str]:
    shown = progress if isinstance(progress, Mapping) else {}
    done, total = (
        value if is_number(value := shown.get(key)) else None for key in ("done", "total")
    )
    message = str(shown.get("message") or "")
    return done, total, "" if message == ENCRYPTED else message


def _text(job: Job, done: float | None, total: float | None, message: str) -> str:
    if job.status != Status.STARTED:
        return str(_TEXTS.get(job.status, job.status))
    if message:
        return message
    if done is not None and total is not None:
        return _("%(done)s of %(total)s") % {"done": plain(done), "total": plain(total)}
    return str(_TEXTS[Status.STARTED])
