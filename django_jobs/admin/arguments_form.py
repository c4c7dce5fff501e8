"""A form for the arguments of a call, built from the signature of the job function."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from ..api.job import JobFunction
from ..define.annotations import parameter_hints
from ..define.converters import Mismatch
from ..define.hidden_arguments import Rules
from ..define.sensitive import shown_arguments
from .argument_fields import MISSING, JSONArgument, field_of, with_value

PREFIX = "argument_"
_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
_BY_BOTH = inspect.Parameter.POSITIONAL_OR_KEYWORD
_REST, _KEYWORDS = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


class ArgumentsForm(forms.Form):
    """A field for each parameter. A field that nobody changes keeps its argument of *known*.

    The fields of *hidden* parameters are empty. The first *taken* parameters have no field: they
    get results of other jobs.
    """

    def __init__(
        self,
        function: JobFunction[..., Any, Any],
        given: Any = None,
        *,
        known: Mapping[str, Any] | None = None,
        hidden: Collection[str] = (),
        taken: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(given, **options)
        self.function = function
        self._known = known or {}
        hints = parameter_hints(function.called)
        self._parameters = list(function.call_signature.parameters.values())[taken:]
        own: dict[str, forms.Field] = {}
        for parameter in self._parameters:
            name = parameter.name
            field = field_of(parameter, hints.get(name), function)
            if name in hidden:
                field.required, field.help_text = False, _("Empty: unchanged.")
            elif name in self._known:
                field, self.initial[PREFIX + name] = with_value(field, self._known[name])
            own[PREFIX + name] = field
        self.fields = {**own, **self.fields}

    @property
    def has_changed_arguments(self) -> bool:
        return any(name.startswith(PREFIX) for name in self.changed_data)

    def call(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments by position and by name."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        by_position = self._value(_REST) not in (MISSING, [], ())
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
        by_position = self._value(_REST) not in (MISSING, [], ())
        left_out = ""
        for parameter, value in self._values():
            placed = parameter.kind is _POSITIONAL or (parameter.kind is _BY_BOTH and by_position)
            if placed and value is MISSING:
                left_out = parameter.name
            elif placed and left_out:
                text = _("A later argument is given by position, so this one is required.")
                self.add_error(PREFIX + left_out, text)
                break
        self._refuse_misfits()
        return cleaned

    def _refuse_misfits(self) -> None:
        """Tell all arguments that their annotations do not convert."""
        types = self.function.argument_types
        if types is None or not self.function.options.typing:
            return
        for parameter, value in list(self._values()):
            converter = types.bound.get(parameter.name)
            if value is MISSING or converter is None:
                continue
            try:
                converter.decode(value)
            except Mismatch as mismatch:
                text = mismatch.message(parameter.name, self.function.name)
                self.add_error(PREFIX + parameter.name, text)

    def _values(self) -> Iterator[tuple[inspect.Parameter, Any]]:
        for parameter in self._parameters:
            name = PREFIX + parameter.name
            if parameter.name in self._known and name not in self.changed_data:
                yield parameter, self._known[parameter.name]
                continue
            value = self.cleaned_data.get(name, MISSING)
            optional = parameter.default is not parameter.empty
            # An empty text means the default, if the parameter has one; null is a value of JSON.
            is_empty = value is None and not isinstance(self.fields[name], JSONArgument)
            yield parameter, MISSING if is_empty or (value == "" and optional) else value

    def _value(self, kind: Any) -> Any:
        return next((value for one, value in self._values() if one.kind is kind), MISSING)


def bound_arguments(
    function: JobFunction[..., Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    taken: int = 0,
) -> dict[str, Any]:
    """Return the arguments by the names of the parameters; raise ``TypeError`` for a misfit."""
    bound = function.call_signature.bind_partial(*[None] * taken, *args, **kwargs)
    names = list(bound.arguments)[taken:]
    return {name: bound.arguments[name] for name in names}


def hidden_arguments(
    function: JobFunction[..., Any, Any],
    rules: Rules,
    args: Any,
    kwargs: Any,
    known: Mapping[str, Any],
    taken: int = 0,
) -> set[str]:
    """Return those of the *known* arguments that are secret, or have something secret in them."""
    shown = shown_arguments(rules, args, kwargs)
    if not isinstance(shown.args, list) or not isinstance(shown.kwargs, dict):
        return set(known)
    seen = bound_arguments(function, shown.args, shown.kwargs, taken)
    return {name for name, value in known.items() if seen.get(name) != value}
