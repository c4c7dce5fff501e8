"""Signatures and their defaults as code, without secrets."""

from __future__ import annotations

import datetime
import decimal
import enum
import inspect
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..redaction import REDACTED
from .hidden_arguments import Rules, rules_of_function
from .sensitive import redact

if TYPE_CHECKING:
    from ..api.job import JobFunction

# Types whose repr is only the value.
_PLAIN = (
    bool, int, float, str, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta,
    uuid.UUID, enum.Enum,
)  # fmt: skip


def redact_signature(function: JobFunction[..., Any, Any]) -> str:
    """Return the signature of *function* as a text, without secrets in the defaults."""
    rules = rules_of_function(function)
    signature = function.call_signature
    shown = [
        parameter
        if parameter.default is parameter.empty
        else parameter.replace(default=_Code(shown_default(parameter, rules)))
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=shown))


def shown_default(parameter: inspect.Parameter, rules: Rules) -> str:
    """Return the default of one parameter as code."""
    return REDACTED if rules.hides_name(parameter.name) else shown_code(parameter.default)


def shown_code(value: Any) -> str:
    """Return *value* as code, without secrets; of other objects only the class."""
    return _code(redact(value))


def _code(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_code(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_code, value))}]"
    if value is None or isinstance(value, _PLAIN):
        return repr(value)
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    return f"<{type(value).__name__}>"


class _Code(str):
    """A text whose repr is the text itself."""

    def __repr__(self) -> str:
        return str(self)
