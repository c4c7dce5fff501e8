"""Keys of limits, and the values of key options."""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from .. import serialization
from ..conf import get_settings
from .conversion import json_of

if TYPE_CHECKING:
    from ..api.job import JobFunction

#: A function of a job's arguments, or names of its parameters.
Key = Callable[..., object] | Sequence[str]

# Longer names are cut and get a digest, so that a key with a value's digest fits its column.
_LONGEST_NAME = 150


def of_function(name: str) -> str:
    """Return the key of a limit that all jobs of a job function share."""
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 33]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return f"job:{name}"


def of_value(name: str, value: object) -> str:
    """Return the key of the limit for the jobs whose key option has that *value*.

    It contains only a digest of *value*, because arguments may be secret.
    """
    limit = get_settings().max_payload_bytes
    text = serialization.canonical(value, where="key", max_bytes=limit)
    return f"{of_function(name)}#{_digest(text)}"


def of_queue(name: str) -> str:
    """Return the key of a queue's limit."""
    return f"queue:{name}"


def value_of(
    function: JobFunction[..., Any, Any],
    option: str,
    wanted: Key | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Return the value of a key *option* of *function* for a call with the body's arguments.

    *wanted* is the option's function or names; None means all arguments. Raises
    ``ImproperlyConfigured`` for an unknown name, and the exceptions of the option's function.
    """
    if callable(wanted):
        value = wanted(*args, **kwargs)
        return value if function.argument_types is None else json_of(value)
    bound = function.call_signature.bind(*args, **kwargs)
    bound.apply_defaults()
    same = dict(bound.arguments)
    if function.argument_types is not None:
        same = function.argument_types.encode_bound(same)
    if wanted is None:
        return same
    for name in wanted:
        if name not in same:
            raise ImproperlyConfigured(
                f"{option} of {function.name} names {name!r}, which is not a parameter. Use some "
                f"of {', '.join(same)}."
            )
    return {name: same[name] for name in wanted}


def digest(text: str) -> str:
    """Return 64 hex digits for *text*, keyed with ``SECRET_KEY`` so that *text* stays secret."""
    salted = _salted(str(settings.SECRET_KEY)).copy()
    salted.update(text.encode())
    return salted.hexdigest()


@functools.lru_cache(maxsize=8)
def _salted(secret_key: str) -> hmac.HMAC:
    return salted_hmac("django_jobs.keys", "", secret_key, algorithm="sha256")


def _digest(text: str) -> str:
    return digest(text)[:32]
