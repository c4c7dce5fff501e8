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
    """The limits of a queue; an empty field means the value of code and settings."""

    class Meta:
        model = Queue
        fields = ("name", "concurrency", "rate_limit", "target_seconds")
        help_texts = {
            "concurrency": gettext_lazy("The most jobs that run at once, over all workers."),
            "rate_limit": gettext_lazy("The most jobs that start in a period: “10/s”, “100/m”."),
            "target_seconds": gettext_lazy(
                "The dashboard warns when the oldest ready job has waited longer."
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
            raise ValidationError(_("It must be a number of seconds above 0."))
        return seconds
