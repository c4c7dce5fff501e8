"""The methods by which a running job waits for events and for the decisions of people."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from .approval_form import Form
from .decision import Decision
from .twins import twin

if TYPE_CHECKING:
    from .context import JobContext


class Waits:
    """The methods of a running job by which it waits without a worker."""

    def wait_for_event(
        self, name: str, *, timeout: float | datetime.timedelta | None = None
    ) -> Any:
        """Return the payload of the event *name*, which ``send_event()`` sends.

        If none is kept, the run ends here, and the job is WAITING: it occupies no worker, and no
        retry is counted. When the event comes, the job runs again from its beginning, gets the
        recorded results of its steps, and goes on here. The wait is a step, under the event's name
        as its key.

        Raises ``EventTimeout`` when no event came within *timeout* (seconds or a timedelta; None:
        no limit), by the database's clock; ``ValueError`` for an invalid name or *timeout*;
        ``StepError`` outside of the running job.
        """
        from ..steps.events import wait_for_event

        return wait_for_event(cast("JobContext", self), name, timeout)

    def ask(
        self,
        question: str,
        *,
        permission: str = "django_jobs.answer_approval",
        choices: Sequence[str] = ("approve", "reject"),
        form: Form | None = None,
        timeout: float | datetime.timedelta | None = None,
        key: str = "ask",
    ) -> Decision:
        """Ask a person, and return the decision; meanwhile the job is WAITING, without a worker.

        The question stands in the admin, with a button for each of the *choices* for users who have
        the *permission*. ``answer()`` answers from code, and ``approval_url()`` makes a link for a
        mail. *form* names further values to enter: a dict of names with ``str``, ``int``,
        ``Decimal``, ``bool``, ``date`` or a list of texts. *key* names the step.

        Raises ``EventTimeout`` when nobody answered within *timeout* (seconds or a timedelta; None:
        no limit); ``ValueError`` for invalid arguments; ``StepError`` outside of the running job,
        and without a row that a person could answer, as with ``apply()``.
        """
        from ..steps.approvals import ask

        return ask(cast("JobContext", self), question, permission, choices, form, timeout, key)

    await_for_event = twin(wait_for_event)
    aask = twin(ask)
