"""A form for a job that has not begun: its arguments, queue, priority and time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..api.job import JobFunction
from ..define.envelopes import opened_call
from ..define.hidden_arguments import rules_of
from ..define.option_problems import MAX_PRIORITY
from ..define.row_options import read
from ..define.sensitive import shown_arguments
from ..models import Job
from .enqueue_form import MISSING, PREFIX, EnqueueForm, JSONArgument


class EditForm(EnqueueForm):
    """Shows the arguments of a queued job. Secret ones are empty; an empty one stays as it is."""

    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=100)
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"), min_value=-MAX_PRIORITY, max_value=MAX_PRIORITY
    )
    countdown: Any = None
    run_at = forms.DateTimeField(
        label=gettext_lazy("Run at"), required=False,
        help_text=gettext_lazy("Empty: unchanged. A time in the past: at once."),
    )  # fmt: skip

    def __init__(self, function: JobFunction[..., Any, Any], job: Job, given: Any = None) -> None:
        super().__init__(function, given, initial={"queue": job.queue, "priority": job.priority})
        self._taken = 0 if read(job.options).workflow.taken_as is None else 1
        self._known = _bound(function, *opened_call(job.args, job.kwargs), self._taken)
        for name in list(function.call_signature.parameters)[: self._taken]:
            del self.fields[PREFIX + name]  # the result of another job
        self._hidden = _hidden(function, job, self._taken, self._known)
        for name, value in self._known.items():
            field = self.fields.get(PREFIX + name)
            if field is None:
                continue
            if name in self._hidden:
                field.required, field.help_text = False, _("Empty: unchanged.")
            else:
                self.initial[PREFIX + name] = _initial(field, value)

    def edited_call(self) -> tuple[list[Any], dict[str, Any]] | None:
        """Return the new arguments, or None if nobody has changed them."""
        changed = {name for name in self.changed_data if name.startswith(PREFIX)}
        if not changed:
            return None
        return self.call()

    def without_secrets(self, text: str) -> str:
        """Return an error's message without the secrets of the new arguments that it quotes."""
        return shown_arguments(rules_of(self.function.name), *self.call()).text(text)

    def value_of(self, name: str, value: Any) -> Any:
        if name not in self._hidden:
            return value
        # Not the cleaned value: an empty number or choice is None.
        is_left = value is MISSING or not self.data.get(self.add_prefix(PREFIX + name))
        return self._known[name] if is_left else value


def _bound(
    function: JobFunction[..., Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any], taken: int
) -> dict[str, Any]:
    """Return the arguments by the names of the parameters."""
    bound = function.call_signature.bind_partial(*[None] * taken, *args, **kwargs)
    names = list(bound.arguments)[taken:]
    return {name: bound.arguments[name] for name in names}


def _hidden(
    function: JobFunction[..., Any, Any], job: Job, taken: int, known: Mapping[str, Any]
) -> set[str]:
    """Return the parameters whose arguments are secret, or have something secret in them."""
    options = None if job.options is None else json.dumps(job.options)
    shown = shown_arguments(rules_of(job.name, options), job.args, job.kwargs)
    if not isinstance(shown.args, list) or not isinstance(shown.kwargs, dict):
        return set(known)
    seen = _bound(function, shown.args, shown.kwargs, taken)
    return {name for name, value in known.items() if seen.get(name) != value}


def _initial(field: forms.Field, value: Any) -> Any:
    if isinstance(field, JSONArgument):
        return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    if isinstance(field, forms.TypedChoiceField):
        return {True: "true", False: "false"}.get(value, "")
    return value
