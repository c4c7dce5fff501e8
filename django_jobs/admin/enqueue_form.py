"""A form that enqueues a job function."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from ..define.option_problems import MAX_PRIORITY
from .arguments_form import ArgumentsForm


class EnqueueForm(ArgumentsForm):
    """The arguments of a call, and its queue, priority and countdown."""

    queue = forms.CharField(
        label=gettext_lazy("Queue"), required=False, max_length=100,
        help_text=gettext_lazy("Empty: from the routes or the job function."),
    )  # fmt: skip
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"), required=False, min_value=-MAX_PRIORITY,
        max_value=MAX_PRIORITY,
    )  # fmt: skip
    countdown = forms.FloatField(label=gettext_lazy("Seconds to wait"), required=False, min_value=0)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the call that are not empty."""
        given = {name: self.cleaned_data.get(name) for name in ("queue", "priority", "countdown")}
        return {name: value for name, value in given.items() if value not in (None, "")}
