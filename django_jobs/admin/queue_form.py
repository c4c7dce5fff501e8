from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..define.option_problems import queue_problems
from ..models import Queue

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Queue]
else:
    _ModelForm = forms.ModelForm


class QueueForm(_ModelForm):
    """The limits of one queue; what code and settings say holds where a field is empty."""

    class Meta:
        model = Queue
        fields = ("name", "concurrency", "rate_limit", "target_seconds")
        help_texts = {
            "concurrency": gettext_lazy("How many jobs may run at once, over all workers."),
            "rate_limit": gettext_lazy("How many jobs may start in a time: “10/s”, “100/m”."),
            "target_seconds": gettext_lazy(
                "The dashboard warns when the oldest ready job waits for longer."
            ),
        }

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if problems := queue_problems(name):
            raise ValidationError(problems)
        return name

    def clean_target_seconds(self) -> Any:
        seconds = self.cleaned_data["target_seconds"]
        if seconds is not None and seconds <= 0:
            raise ValidationError(_("It must be seconds > 0."))
        return seconds
