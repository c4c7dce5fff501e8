"""The page of a signed link: one person answers the question of one job."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from ..api import signed_urls
from ..api.approvals import note_of
from ..api.result import AsyncResult
from ..control.approvals import answer
from ..display.approvals import AnswerForm, Question, open_question
from ..exceptions import JobDoesNotExist, NoOpenQuestion
from ..models import Approval


@login_not_required  # the signature of the link is the right to decide
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def approval(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Show the question that a link of ``approval_url()`` is for; a POST decides it.

    A GET decides nothing, because scanners of mails open links.
    """
    ticket = signed_urls.read_approval(request.GET.get("token", ""), job_id)
    if ticket is None:
        return _told(request, _("This link is invalid or has expired."), 403)
    question = _question(job_id, ticket)
    if question is None:
        return _too_late(request)
    form = AnswerForm(question.approval, request.POST if request.method == "POST" else None)
    choice = request.POST.get("choice", "")
    if request.method != "POST" or not form.is_valid() or choice not in question.approval.choices:
        return _page(request, {"question": question, "form": form})
    try:
        answer(
            job_id, choice, form.cleaned_data["comment"], form=form.answers,
            by=ticket.by, key=ticket.key, link=ticket.number,
            note=note_of(None, choice, by_link_of=ticket.by),
        )  # fmt: skip
    except NoOpenQuestion:
        return _too_late(request)
    return _told(request, _("Thank you. You decided: %s") % choice, 200)


def _question(job_id: UUID, ticket: signed_urls.ApprovalTicket) -> Question | None:
    """Return the question that the link is for, unless it is decided or the link was used."""
    try:
        job = AsyncResult(job_id).job
    except JobDoesNotExist:
        return None
    used = Approval.objects.using(job._state.db).filter(job=job, link=ticket.number)
    return None if used.exists() else open_question(job, ticket.key)


def _too_late(request: HttpRequest) -> HttpResponse:
    text = _("There is nothing to decide: somebody has decided already, or it is too late.")
    return _told(request, text, 410)


def _told(request: HttpRequest, text: str, status: int) -> HttpResponse:
    return _page(request, {"told": text}, status)


def _page(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    response = TemplateResponse(request, "django_jobs/approval.html", context, status=status)
    # The address holds the right to decide.
    response["Referrer-Policy"] = "no-referrer"
    return response
