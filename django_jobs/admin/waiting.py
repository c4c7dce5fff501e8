"""The reasons why jobs wait, with links."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import conditional_escape, format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from ..api.waiting_reason import WaitingReason
from ..api.waiting_text import Link, sentence
from ..display.waiting import listed_reason
from ..metrics.waiting import Kind
from ..models import Job, Queue, Worker
from .base import may_view
from .operations import may_operate
from .queue_buttons import RESUME


def waiting_shown(reason: WaitingReason, request: HttpRequest, site: AdminSite) -> dict[str, Any]:
    """Return a sentence with links for a job's page, and the actions that a person may take."""
    command = f"runworker -Q {reason.queue}" if reason.kind == Kind.NO_WORKER else ""
    queues = f"{site.name}:{Queue._meta.app_label}_queue_changelist"
    may_resume = (
        reason.kind == Kind.PAUSED
        and site.is_registered(Queue)
        and may_operate(site, Queue, request, RESUME)
    )
    return {
        # Safe HTML: our own texts, and the links, which escape their texts.
        "sentence": sentence(reason, _linked(request, site)),
        "command": f"manage.py {command}" if command else "",
        "resume": reason.queue if may_resume else "",
        "resume_url": reverse(queues) if may_resume else "",
    }


def waits_in_list(job: Job) -> SafeString | None:
    """Return the sentence of a row of the list; None if it waits for nothing."""
    reason = listed_reason(job)
    if reason is None:
        return None
    return format_html('<span class="jobs-waiting">{}</span>', sentence(reason))


def _linked(request: HttpRequest, site: AdminSite) -> Link:
    """Return a function that makes links to the pages that the user may see."""
    name = f"{site.name}:{Job._meta.app_label}"

    def page(model: str, key: str) -> str:
        if model == "job" and may_view(site, Job, request):
            return reverse(f"{name}_job_change", args=[key])
        if model == "queue" and may_view(site, Job, request):
            return f"{reverse(f'{name}_job_changelist')}?{urlencode({'queue': key})}"
        if model == "worker" and key and may_view(site, Worker, request):
            return reverse(f"{name}_worker_change", args=[key])
        return ""

    def link(model: str, key: str, text: str) -> str:
        url = page(model, key)
        return format_html('<a href="{}">{}</a>', url, text) if url else conditional_escape(text)

    return link
