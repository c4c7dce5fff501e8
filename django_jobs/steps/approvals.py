"""Lets a running job ask a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..conf import get_settings
from ..db import clock
from ..define.approval_form import Form, stored_choices, stored_form
from ..define.decision import Decision
from ..events.ending import TIMED_OUT
from ..exceptions import EventTimeout, StepError
from ..models import Approval, Step
from ..moments import seconds
from ..serialization import dumps, type_of
from ..values import Outcome
from .events import Timeout, Wait
from .journal import journal_of
from .recorded import State

if TYPE_CHECKING:
    from ..define.context import JobContext

#: The permission to answer questions that name none.
PERMISSION = "django_jobs.answer_approval"
LONGEST_QUESTION, LONGEST_PERMISSION = 10_000, 255


@dataclasses.dataclass(slots=True)
class Asked(Wait):
    """The job waits for a person."""

    #: Without the id of its job.
    approval: Approval = dataclasses.field(default_factory=Approval)

    def asked(self, outcome: Outcome, using: str) -> int | None:
        approval = self.approval
        approval.pk, approval.job_id = None, outcome.job.id
        approval.key, approval.asked_at = self.step.key, clock(using)
        approval.save(using=using, force_insert=True)
        return approval.pk


def ask(
    context: JobContext,
    question: str,
    permission: str,
    choices: Sequence[str],
    form: Form | None,
    timeout: Timeout,
    key: str,
) -> Decision:
    """Return the decision of a person; suspend the job until there is one."""
    approval = _approval(question, permission, choices, form)
    longest = None if timeout is None else seconds(timeout, "timeout", least=0.0)
    journal = journal_of(context, "ask")
    step = journal.use(key, Step.Kind.APPROVAL)
    if step.state == State.DONE:
        if step.data and step.data.get(TIMED_OUT):
            raise EventTimeout(f"Nobody answered the question {step.key!r} in time.")
        return Decision.read(step.value(), approval.form)
    if context.request.is_eager:
        raise StepError(
            "ask() needs a job with a row, which a person can answer, and this one runs without: "
            "by apply() or with EAGER. Enqueue it. In a test, call run_jobs() and answer()."
        )
    return journal.suspend(Asked(step, timeout=longest, approval=approval))


def _approval(question: object, permission: object, choices: object, form: object) -> Approval:
    if not isinstance(question, str) or not 0 < len(question) <= LONGEST_QUESTION:
        found = f"{len(question)} of them" if isinstance(question, str) else type_of(question)
        raise ValueError(
            f"The question must be a text of 1 to {LONGEST_QUESTION} characters, got {found}."
        )
    if not isinstance(permission, str) or permission.count(".") != 1:
        raise ValueError(
            "The permission must name an app and a permission, as 'shop.refund', got "
            f"{permission!r:.120}."
        )
    limit = get_settings().max_payload_bytes
    dumps(question, where="the question", max_bytes=limit)  # texts that a database cannot hold
    return Approval(
        question=question,
        permission=permission,
        choices=stored_choices(choices),
        form=stored_form(form),
    )
