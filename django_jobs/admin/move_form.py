from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..define.option_problems import MAX_PRIORITY, queue_problems
from ..define.routing import database_of
from .job_actions import Operation
from .job_targets import moving


class MoveForm(forms.Form):
    """The target of a move; an empty field changes nothing."""

    queue = forms.CharField(
        label=gettext_lazy("Queue"), required=False, max_length=100,
        help_text=gettext_lazy("Empty: unchanged."),
    )  # fmt: skip
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"), required=False, min_value=-MAX_PRIORITY,
        max_value=MAX_PRIORITY, help_text=gettext_lazy("Empty: unchanged."),
    )  # fmt: skip

    def __init__(self, given: Any, *, using: str) -> None:
        super().__init__(given, prefix="move")
        self.using = using

    def clean_queue(self) -> str:
        queue: str = self.cleaned_data["queue"]
        if queue and (problems := queue_problems(queue)):
            raise ValidationError(problems)
        if queue and database_of(queue) != self.using:
            raise ValidationError(_("This queue is in another database."))
        return queue

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and not cleaned["queue"] and cleaned["priority"] is None:
            raise ValidationError(_("Enter a queue, a priority or both."))
        return cleaned

    @property
    def operation(self) -> Operation:
        return moving(self.cleaned_data["queue"] or None, self.cleaned_data["priority"])
