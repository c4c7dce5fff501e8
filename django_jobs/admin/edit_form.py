"""A form for a job that has not begun: its arguments, queue, priority and time."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from ..api.job import JobFunction
from ..define.envelopes import opened_call
from ..define.hidden_arguments import rules_of
from ..define.option_problems import MAX_PRIORITY
from ..define.row_options import read
from ..define.sensitive import shown_arguments
from ..models import Job
from .arguments_form import ArgumentsForm, bound_arguments, hidden_arguments


class EditForm(ArgumentsForm):
    """Shows the arguments of a queued job. Secret ones are empty; an empty one stays as it is."""

    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=100)
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"), min_value=-MAX_PRIORITY, max_value=MAX_PRIORITY
    )
    run_at = forms.DateTimeField(
        label=gettext_lazy("Run at"), required=False,
        help_text=gettext_lazy("Empty: unchanged. A time in the past: at once."),
    )  # fmt: skip

    def __init__(self, function: JobFunction[..., Any, Any], job: Job, given: Any = None) -> None:
        taken = 0 if read(job.options).workflow.taken_as is None else 1
        known = bound_arguments(function, *opened_call(job.args, job.kwargs), taken)
        rules = rules_of(job.name, None if job.options is None else json.dumps(job.options))
        super().__init__(
            function, given, known=known, taken=taken,
            hidden=hidden_arguments(function, rules, job.args, job.kwargs, known, taken),
            initial={"queue": job.queue, "priority": job.priority},
        )  # fmt: skip

    def edited_call(self) -> tuple[list[Any], dict[str, Any]] | None:
        """Return the new arguments, or None if nobody has changed them."""
        return self.call() if self.has_changed_arguments else None

    def without_secrets(self, text: str) -> str:
        """Return an error's message without the secrets of the new arguments that it quotes."""
        return shown_arguments(rules_of(self.function.name), *self.call()).text(text)
