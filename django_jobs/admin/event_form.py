from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..conf import get_settings
from ..control.events import awaited_events
from ..exceptions import ArgumentError
from ..serialization import dumps
from .job_actions import Operation
from .job_targets import sending

# The events of so many of the chosen jobs are offered.
_MOST_JOBS = 100


class EventForm(forms.Form):
    """The event that is sent to the chosen jobs."""

    event = forms.ChoiceField(
        label=gettext_lazy("Event"),
        help_text=gettext_lazy(
            "It is sent once for each chosen job that waits for it. The job that waits the longest "
            "takes it."
        ),
    )  # fmt: skip
    payload = forms.CharField(
        label=gettext_lazy("Payload"), required=False, strip=True,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60, "spellcheck": "false"}),
        help_text=gettext_lazy("JSON. Empty: null."),
    )  # fmt: skip

    def __init__(self, given: Any, *, ids: Sequence[UUID]) -> None:
        super().__init__(given, prefix="event")
        names = dict.fromkeys(each.name for each in awaited_events(ids[:_MOST_JOBS]))
        event = cast(forms.ChoiceField, self.fields["event"])
        event.choices = [(name, name) for name in names]

    def clean_payload(self) -> Any:
        text = self.cleaned_data["payload"] or "null"
        try:
            value = json.loads(text)
            dumps(value, where="", max_bytes=get_settings().max_payload_bytes)
        except json.JSONDecodeError as error:
            place = {"line": error.lineno, "column": error.colno}
            raise ValidationError(
                _("This is not JSON: see line %(line)d, column %(column)d.") % place
            ) from None
        except (ArgumentError, RecursionError):
            raise ValidationError(_("This is too large or nests too deep.")) from None
        return value

    @property
    def operation(self) -> Operation:
        return sending(self.cleaned_data["event"], self.cleaned_data["payload"])
