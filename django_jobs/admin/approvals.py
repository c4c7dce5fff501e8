"""The questions that wait for people, and their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ..api.approvals import note_of
from ..conf import get_settings
from ..control.approvals import answer, may_answer
from ..display.approvals import AnswerForm, Question, open_question, open_questions
from ..display.job_text import pretty
from ..exceptions import NoOpenQuestion
from ..models import Approval, Job
from .auto_refresh import REFRESH_SCRIPT, page_or_parts, page_to_return_to
from .badges import moment
from .base import ModelAdmin, ReadOnlyAdminMixin, may_view
from .job_fields import payload_of

#: The most questions on the page; the oldest come first.
MOST_SHOWN = 200
_FOLDER = "admin/django_jobs/approval"


class ApprovalAdminMixin(ReadOnlyAdminMixin):
    """The open questions of jobs, and a page to answer each of them."""

    class Media:
        css = {"all": ["django_jobs/admin.css"]}
        js = (REFRESH_SCRIPT,)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        wrap: Callable[..., Any] = self.admin_site.admin_view
        return [
            path("", wrap(self.changelist_view), name=f"{name}_changelist"),
            path("<int:pk>/", wrap(self.answer_view), name=f"{name}_change"),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        questions = open_questions(get_settings().database, MOST_SHOWN)
        context = {
            **self._context(request, capfirst(self.opts.verbose_name_plural)),
            "questions": [self.shown(request, question) for question in questions],
            "most": number_format(MOST_SHOWN) if len(questions) == MOST_SHOWN else "",
            **(extra_context or {}),
        }
        return page_or_parts(request, f"{_FOLDER}/page.html", f"{_FOLDER}/parts.html", context)

    def shown(self, request: HttpRequest, question: Question) -> dict[str, Any]:
        """Return a question as the pages show it."""
        return shown_question(self.admin_site, request, question)

    def answer_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show one question with a form; a POST answers it."""
        request.current_app = self.admin_site.name
        approval = Approval.objects.using(get_settings().database).filter(pk=pk).first()
        job = None if approval is None else self._job(approval)
        if approval is None or job is None:
            raise Http404
        may = may_answer(request.user, approval)
        if not (may or (request.method == "GET" and self.has_view_permission(request))):
            raise PermissionDenied
        question = open_question(job, approval.key)
        if question is None or question.approval.pk != pk:
            self.message_user(request, decision_text(approval), messages.WARNING)
            return self._back(request)
        form = AnswerForm(approval, request.POST if request.method == "POST" else None)
        choice = request.POST.get("choice", "")
        if request.method == "POST" and form.is_valid() and choice in approval.choices:
            return self._answer(request, approval, choice, form)
        context = {
            **self._context(request, _("A decision is needed")),
            "question": self.shown(request, question),
            "form": form,
            "next": page_to_return_to(request) or request.GET.get("next", ""),
        }
        return TemplateResponse(request, f"{_FOLDER}/answer.html", context)

    def _job(self, approval: Approval) -> Job | None:
        return Job.objects.using(approval._state.db).filter(pk=approval.job_id).first()

    def _answer(
        self, request: HttpRequest, approval: Approval, choice: str, form: AnswerForm
    ) -> HttpResponse:
        try:
            answer(
                approval.job_id, choice, form.cleaned_data["comment"], request.user,
                form=form.answers, key=approval.key, note=note_of(request.user, choice),
            )  # fmt: skip
        except NoOpenQuestion:
            approval.refresh_from_db()
            self.message_user(request, decision_text(approval), messages.WARNING)
        else:
            text = _("You decided: %s. The job goes on.") % choice
            self.message_user(request, text, messages.SUCCESS)
        return self._back(request)

    def _back(self, request: HttpRequest) -> HttpResponse:
        name = f"{self.admin_site.name}:{self.opts.app_label}_approval_changelist"
        return HttpResponseRedirect(page_to_return_to(request) or reverse(name))

    def _context(self, request: HttpRequest, title: Any) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
        }


class ApprovalAdmin(ApprovalAdminMixin, ModelAdmin):
    pass


def shown_question(site: Any, request: HttpRequest, question: Question) -> dict[str, Any]:
    """Return an open question as a page shows it, with buttons for those who may answer."""
    approval, job = question.approval, question.job
    may = may_answer(request.user, approval)
    page = reverse(f"{site.name}:django_jobs_job_change", args=[job.pk])
    return {
        "text": question.text,
        "url": reverse(f"{site.name}:django_jobs_approval_change", args=[approval.pk]),
        "job": job.name,
        "job_url": page if may_view(site, Job, request) else "",
        "permission": approval.permission,
        "asked": moment(approval.asked_at),
        "until": moment(question.until) if question.until else "",
        "may_answer": may,
        # A button alone cannot fill in a form.
        "buttons": approval.choices if may and not approval.form else [],
        "choices": approval.choices,
    }


def shown_approvals(site: Any, request: HttpRequest, job: Job) -> list[dict[str, Any]]:
    """Return all questions that a job asked, with the decisions; the newest first."""
    rows = Approval.objects.using(job._state.db).filter(job=job).order_by("-id")[:MOST_SHOWN]
    return [_shown_approval(site, request, job, approval) for approval in rows]


def _shown_approval(
    site: Any, request: HttpRequest, job: Job, approval: Approval
) -> dict[str, Any]:
    blanked = payload_of(job).text
    question = open_question(job, approval.key) if approval.decided_at is None else None
    is_open = question is not None and question.approval.pk == approval.pk
    return {
        "text": blanked(approval.question),
        "asked": moment(approval.asked_at, precise=True),
        "open": shown_question(site, request, question) if question and is_open else None,
        "decided": moment(approval.decided_at, precise=True) if approval.decided_at else "",
        "choice": approval.choice,
        "by": approval.decided_by,
        "comment": blanked(approval.comment),
        "answers": pretty(approval.answers) if approval.answers else "",
    }


def decision_text(approval: Approval) -> str:
    """Return why a question is not open any more."""
    if approval.decided_at is None:
        return _("The question is not open any more: its time was over, or its job ended.")
    values = {"by": approval.decided_by or "–", "choice": approval.choice}
    return _("%(by)s has decided already: %(choice)s.") % values
