"""The limits of a job function that an operator sets over those of the code."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from ..api.job import JobFunction
from ..control import set_limits
from ..limits.overrides import limits_of

#: The name of the button, by which the page knows which of its forms was sent.
BUTTON = "set_limits"


class LimitsForm(forms.Form):
    """An empty field means the value of the code."""

    concurrency = forms.IntegerField(
        label=gettext_lazy("Concurrency"), required=False, min_value=1,
        help_text=gettext_lazy("The most jobs that run at once, over all workers."),
    )  # fmt: skip
    rate_limit = forms.CharField(
        label=gettext_lazy("Rate limit"), required=False, max_length=50,
        help_text=gettext_lazy("The most jobs that start in a period: “10/s”, “100/m”."),
    )  # fmt: skip

    def __init__(self, function: JobFunction[..., Any, Any], given: Any, using: str) -> None:
        self.function, self.using = function, using
        rows = limits_of([function.name], using=using)[function.name]
        row = next((row for digest, row in rows if not digest), None)
        initial = {"concurrency": row.concurrency, "rate_limit": row.rate_limit} if row else {}
        super().__init__(given, initial=initial, prefix="limits")

    def save(self) -> bool:
        """Set the limits; return False if they are impossible, and the form says why."""
        try:
            set_limits(
                self.function.name,
                concurrency=self.cleaned_data["concurrency"],
                rate_limit=self.cleaned_data["rate_limit"] or None,
                using=self.using,
            )
        except (TypeError, ValueError) as error:
            self.add_error(None, str(error))
            return False
        return True
