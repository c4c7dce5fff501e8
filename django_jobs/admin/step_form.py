from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import Step
from .job_actions import Operation
from .job_targets import retrying_from

# The steps of so many of the chosen jobs are offered, and so many steps of them.
_MOST_JOBS, _MOST_KEYS = 100, 200


class StepForm(forms.Form):
    """The step from which the chosen jobs are retried."""

    step = forms.ChoiceField(
        label=gettext_lazy("From"), required=False,
        help_text=gettext_lazy(
            "The jobs forget this step and all later ones, and do them again. A job without this "
            "step is skipped."
        ),
    )  # fmt: skip

    def __init__(self, given: Any, *, using: str, ids: Sequence[UUID]) -> None:
        super().__init__(given, prefix="retry")
        keys = _keys(ids[:_MOST_JOBS], using)
        step = cast(forms.ChoiceField, self.fields["step"])
        step.choices = [("", _("the start")), *((key, key) for key in keys)]

    @property
    def operation(self) -> Operation:
        return retrying_from(self.cleaned_data["step"])


def _keys(ids: Sequence[UUID], using: str) -> list[str]:
    """Return the keys of the jobs' steps in the order of their positions."""
    rows = Step.objects.using(using).filter(job_id__in=ids).order_by("position", "key")
    keys = dict.fromkeys(rows.values_list("key", flat=True)[: 10 * _MOST_KEYS])
    return list(keys)[:_MOST_KEYS]
