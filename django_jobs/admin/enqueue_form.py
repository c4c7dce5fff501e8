"""A form for the arguments of one job function, built from its signature."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..api.job import JobFunction
from ..define.annotations import parameter_hints
from ..define.converters import TYPES
from ..define.hidden_arguments import rules_of_function
from ..define.option_problems import MAX_PRIORITY
from ..define.signature_text import shown_default

#: The value of an argument that is left to the function's default.
MISSING: Any = object()

PREFIX = "argument_"
_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
_BY_BOTH = inspect.Parameter.POSITIONAL_OR_KEYWORD
_REST, _KEYWORDS = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


class JSONArgument(forms.CharField):
    """A JSON value, of the type *kind* if given; an optional field may be empty."""

    def __init__(self, kind: type | None = None, **options: Any) -> None:
        self.kind = kind
        super().__init__(**options)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return MISSING
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise ValidationError(
                _('Enter JSON, as in 42, true, "text", [1, 2] or {"key": 1}.')
            ) from None
        if self.kind is not None and not isinstance(found, self.kind):
            shape = _("a JSON array") if self.kind is list else _("a JSON object")
            raise ValidationError(_("It must be %s.") % shape)
        return found

    def validate(self, value: Any) -> None:
        if value is MISSING and self.required:
            raise ValidationError(self.error_messages["required"], code="required")


class EnqueueForm(forms.Form):
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

    def __init__(self, function: JobFunction[..., Any, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.function = function
        hints = parameter_hints(function.called)
        own = {
            PREFIX + parameter.name: _field(parameter, hints.get(parameter.name), function)
            for parameter in function.call_signature.parameters.values()
        }
        self.fields = {**own, **self.fields}

    @property
    def options(self) -> dict[str, Any]:
        """The options of the call that are not empty."""
        given = {name: self.cleaned_data.get(name) for name in ("queue", "priority", "countdown")}
        return {name: value for name, value in given.items() if value not in (None, "")}

    def call(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments by position and by name."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        by_position = self._value(_REST) not in (MISSING, [])
        for parameter, value in self._values():
            if value is MISSING:
                continue
            if parameter.kind is _REST:
                args += value
            elif parameter.kind is _KEYWORDS:
                kwargs |= value
            elif parameter.kind is _POSITIONAL or (parameter.kind is _BY_BOTH and by_position):
                args.append(value)
            else:
                kwargs[parameter.name] = value
        return args, kwargs

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        by_position = self._value(_REST) not in (MISSING, [])
        left_out = ""
        for parameter, value in self._values():
            placed = parameter.kind is _POSITIONAL or (parameter.kind is _BY_BOTH and by_position)
            if placed and value is MISSING:
                left_out = parameter.name
            elif placed and left_out:
                text = _("A later argument is given by position, so this one is required.")
                self.add_error(PREFIX + left_out, text)
                break
        return cleaned

    def value_of(self, name: str, value: Any) -> Any:
        """Return the argument for a cleaned value of the form."""
        return value

    def _values(self) -> Iterator[tuple[inspect.Parameter, Any]]:
        for parameter in self.function.call_signature.parameters.values():
            value = self.cleaned_data.get(PREFIX + parameter.name, MISSING)
            value = self.value_of(parameter.name, value)
            optional = parameter.default is not parameter.empty
            # An empty text means the default, if the parameter has one.
            if value is None or (value == "" and optional):
                value = MISSING
            yield parameter, value

    def _value(self, kind: Any) -> Any:
        return next((value for one, value in self._values() if one.kind is kind), MISSING)


def _field(
    parameter: inspect.Parameter, hint: Any, function: JobFunction[..., Any, Any]
) -> forms.Field:
    if parameter.kind is _REST:
        return JSONArgument(list, label=f"*{parameter.name}", required=False)
    if parameter.kind is _KEYWORDS:
        return JSONArgument(dict, label=f"**{parameter.name}", required=False)
    optional = parameter.default is not parameter.empty
    rules = rules_of_function(function)
    secret = rules.hides_name(parameter.name)
    options: dict[str, Any] = {"label": parameter.name, "required": not optional}
    if optional and not secret:
        options["help_text"] = _("By default %s.") % _cut(shown_default(parameter, rules))
    if secret:
        options["widget"] = forms.PasswordInput(attrs={"autocomplete": "new-password"})
    if hint is int and not secret:
        return forms.IntegerField(**options)
    if hint is float and not secret:
        return forms.FloatField(**options)
    if hint is bool:
        choices = [("", "---------"), ("true", _("yes")), ("false", _("no"))]
        return forms.TypedChoiceField(
            choices=choices, coerce=lambda text: text == "true", empty_value=None, **options
        )
    if isinstance(hint, type) and issubclass(hint, tuple(TYPES)):
        return forms.CharField(**options)
    if hint is str:
        return forms.CharField(strip=False, **options | {"required": False})
    options.setdefault("help_text", _('JSON, as in 42, true, "text", [1, 2] or {"key": 1}.'))
    return JSONArgument(None, **options)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
