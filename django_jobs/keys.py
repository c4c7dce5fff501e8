"""The keys of limits: of a job function, of a value of its arguments, of a queue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from . import serialization
from .conf import get_settings

if TYPE_CHECKING:
    from .define import JobFunction

#: A function of a job's arguments, or names of its parameters.
Key = Callable[..., object] | Sequence[str]

# Of a longer name so much is kept, beside a digest: a key fits its column with a value's digest.
_LONGEST_NAME = 150


def of_function(name: str) -> str:
    """Return the key that all jobs of a job function share."""
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 33]}~{_digest(name)}"
    return f"job:{name}"


def of_value(name: str, value: object) -> str:
    """Return the key of the jobs of a function for which its key option gives *value*.

    Only a digest of *value* is kept, so that no argument is shown by its key.
    """
    limit = get_settings().max_payload_bytes
    text = serialization.canonical(value, where="key", max_bytes=limit)
    return f"{of_function(name)}#{_digest(text)}"


def of_queue(name: str) -> str:
    """Return the key of a queue."""
    return f"queue:{name}"


def value_of(
    function: JobFunction[..., Any, Any],
    option: str,
    wanted: Key | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Return what makes two calls the same, as *option* of *function* has it.

    Without *wanted* that is all arguments. Raises ``ImproperlyConfigured`` for a name that no
    parameter has, and what a function raises.
    """
    if callable(wanted):
        return wanted(*args, **kwargs)
    bound = function.call_signature.bind(*args, **kwargs)
    bound.apply_defaults()
    same = dict(bound.arguments)
    if wanted is None:
        return same
    for name in wanted:
        if name not in same:
            raise ImproperlyConfigured(
                f"{option} of {function.name} names {name!r}, its parameters are {', '.join(same)}"
            )
    return {name: same[name] for name in wanted}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
