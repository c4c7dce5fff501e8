"""The field of a form for one parameter of a job function, by its annotation."""

from __future__ import annotations

import datetime
import decimal
import enum
import inspect
import json
import types
import typing
import uuid
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from ..api.job import JobFunction
from ..define.annotations import Converters
from ..define.converters import TYPES
from ..define.hidden_arguments import rules_of_function
from ..define.signature_text import shown_default

#: The value of an argument that is left to the function's default.
MISSING: Any = object()

_REST, _KEYWORDS = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
# How the types are written whose JSON is a text.
_EXAMPLES: Mapping[type, str] = {
    datetime.datetime: "2026-01-31T08:00:00+01:00",
    datetime.time: "08:00:00",
    datetime.timedelta: "P1DT12H",
    decimal.Decimal: "12.50",
    uuid.UUID: str(uuid.UUID(int=0)),
}


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

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the values, and not how they are written."""
        try:
            before, after = self.to_python(initial), self.to_python(data)
        except ValidationError:
            return True
        if before is MISSING or after is MISSING:
            return before is not after
        # As text, since True equals 1.
        return _sorted(before) != _sorted(after)


class DateArgument(forms.DateField):
    """A date, as its JSON."""

    def __init__(self, **options: Any) -> None:
        widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
        super().__init__(input_formats=["%Y-%m-%d"], widget=widget, **options)

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return None if found is None else found.isoformat()


def field_of(
    parameter: inspect.Parameter, hint: Any, function: JobFunction[..., Any, Any]
) -> forms.Field:
    """Return the field of a parameter; *hint* is its annotation."""
    if parameter.kind is _REST:
        return JSONArgument(list, label=f"*{parameter.name}", required=False)
    if parameter.kind is _KEYWORDS:
        return JSONArgument(dict, label=f"**{parameter.name}", required=False)
    optional = parameter.default is not parameter.empty
    rules = rules_of_function(function)
    options: dict[str, Any] = {"label": parameter.name, "required": not optional}
    if parameter.default is None:
        hint = _without_none(hint)
    if rules.hides_name(parameter.name):
        options["widget"] = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        if hint in (int, float):
            hint = Any
        return _typed(hint, options)
    if optional:
        options["help_text"] = _("By default %s.") % _cut(shown_default(parameter, rules))
    if choices := _choices(hint):
        return _choice(choices, options)
    return _typed(hint, options)


def with_value(field: forms.Field, value: Any) -> tuple[forms.Field, Any]:
    """Return a field that gives *value* back where nobody changes it, and what it shows.

    A value that does not have the type of the annotation is shown as JSON.
    """
    shown = value
    if isinstance(field, JSONArgument):
        value = list(value) if isinstance(value, tuple) else value
        return field, json.dumps(value, ensure_ascii=False)
    if isinstance(field, forms.TypedChoiceField):
        shown = json.dumps(value)
    try:
        # A browser takes line breaks from a line of text.
        is_kept = "\n" not in str(shown) and "\r" not in str(shown)
        given = field.clean(shown)
        # True equals 1.
        is_kept = is_kept and given == value and isinstance(given, bool) == isinstance(value, bool)
    except (ValidationError, TypeError):
        is_kept = False
    if is_kept:
        return field, shown
    options = {"label": field.label, "required": field.required, "help_text": field.help_text}
    return with_value(JSONArgument(None, **options), value)


def _typed(hint: Any, options: dict[str, Any]) -> forms.Field:
    is_plain = "widget" not in options
    if hint is int:
        return forms.IntegerField(**options)
    if hint is float:
        return forms.FloatField(**options)
    if hint is bool:
        return _choice([(True, _("yes")), (False, _("no"))], options)
    if hint is datetime.date and is_plain:
        return DateArgument(**options)
    if isinstance(hint, type) and issubclass(hint, tuple(TYPES)):
        field = forms.CharField(**options)
        if is_plain and hint in _EXAMPLES:
            field.widget.attrs["placeholder"] = _EXAMPLES[hint]
        return field
    if hint is str:
        return forms.CharField(strip=False, **options | {"required": False})
    options.setdefault("help_text", _('JSON, as in 42, true, "text", [1, 2] or {"key": 1}.'))
    return JSONArgument(None, **options)


def _choice(choices: list[tuple[Any, str]], options: dict[str, Any]) -> forms.Field:
    texts = [(json.dumps(value), text) for value, text in choices]
    return forms.TypedChoiceField(
        choices=[("", "---------"), *texts], coerce=json.loads, empty_value=None, **options
    )


def _choices(hint: Any) -> list[tuple[Any, str]]:
    """Return the JSON of the values of an enum or a ``Literal``, and how each is shown."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        values: list[Any] = list(hint)
    elif typing.get_origin(hint) is typing.Literal:
        values = list(typing.get_args(hint))
    else:
        return []
    converter = Converters().of_annotation(hint)
    try:
        found = [converter.encode(value) for value in values]
        return [(value, str(value)) for value in found if json.dumps(value)]
    except Exception:  # members are code of the project: the field then takes JSON
        return []


def _without_none(hint: Any) -> Any:
    """Return ``X`` for ``X | None``."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    others = [each for each in typing.get_args(hint) if each is not types.NoneType]
    return others[0] if len(others) == 1 else hint


def _sorted(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
