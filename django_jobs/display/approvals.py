"""Questions of jobs as people see them: without secrets, with a form to answer them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from ..control.approvals import LONGEST_COMMENT
from ..define.approval_form import KINDS
from ..models import Approval, EventWait, Job
from .job_text import listed_text, shown_payload, with_argument_texts

# The question of a job with longer arguments is shown on its own page only.
_LONGEST_ARGUMENTS = 2_000

_FIELDS: dict[str, type[forms.Field]] = {
    KINDS[str]: forms.CharField,
    KINDS[int]: forms.IntegerField,
    KINDS[decimal.Decimal]: forms.DecimalField,
    KINDS[bool]: forms.BooleanField,
    KINDS[datetime.date]: forms.DateField,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """An open question of a job."""

    approval: Approval
    job: Job
    #: The question without secrets.
    text: str
    until: datetime.datetime | None


def open_questions(using: str, most: int) -> list[Question]:
    """Return the questions that are open, the oldest first, at most *most*."""
    waits = EventWait.objects.using(using).filter(approval_id__isnull=False)
    rows = list(waits.order_by("approval_id")[:most])
    approvals = Approval.objects.using(using).in_bulk([wait.approval_id for wait in rows])
    jobs = Job.objects.using(using).filter(pk__in=[wait.job_id for wait in rows])
    by_id = {job.pk: job for job in with_argument_texts(jobs, _LONGEST_ARGUMENTS)}
    return [
        Question(approval, job, listed_text(job, approval.question), wait.until)
        for wait in rows
        if (approval := approvals.get(wait.approval_id)) and (job := by_id.get(wait.job_id))
    ]


def open_question(job: Job, key: str = "") -> Question | None:
    """Return the open question of *job*, or None; *key* names its step."""
    using = str(job._state.db)
    wait = EventWait.objects.using(using).filter(job=job, approval_id__isnull=False).first()
    if wait is None or key not in ("", wait.key):
        return None
    approval = Approval.objects.using(using).get(pk=wait.approval_id or 0)
    return Question(approval, job, question_text(job, approval), wait.until)


def question_text(job: Job, approval: Approval) -> str:
    """Return the question without secrets."""
    return shown_payload(job, ("args", "kwargs")).text(approval.question)


class AnswerForm(forms.Form):
    """The comment, and the fields that the job named."""

    comment = forms.CharField(
        label=_("Comment"),
        required=False,
        max_length=LONGEST_COMMENT,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, approval: Approval, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._names = list(approval.form)
        for name, kind in approval.form.items():
            self.fields[f"form_{name}"] = _field(name, kind)

    @property
    def answers(self) -> dict[str, Any]:
        """The answers to the fields, by their names."""
        return {name: self.cleaned_data[f"form_{name}"] for name in self._names}


def _field(name: str, kind: Any) -> forms.Field:
    label = name.replace("_", " ").capitalize()
    if isinstance(kind, list):
        return forms.ChoiceField(label=label, choices=[(each, each) for each in kind])
    if kind == KINDS[datetime.date]:
        return forms.DateField(label=label, widget=forms.DateInput(attrs={"type": "date"}))
    return _FIELDS[kind](label=label, required=kind != KINDS[bool])
