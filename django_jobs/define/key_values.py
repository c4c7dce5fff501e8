"""The keys of limits: of a job function, of a value of its arguments, of a queue."""

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

if TYPE_CHECKING:
    from ..api.job import JobFunction

#: A function of a job's arguments, or names of its parameters.
Key = Callable[..., object] | Sequence[str]

# Of a longer name so much is kept, beside a digest: a key fits its column with a value's digest.
_LONGEST_NAME = 150


def of_function(name: str) -> str:
    """Return the key that all jobs of a job function share."""
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 33]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"
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
                f"{option} of {function.name} names {name!r}, which is no parameter. Use some of "
                f"{', '.join(same)}."
            )
    return {name: same[name] for name in wanted}


def digest(text: str) -> str:
    """Return 64 hex digits for *text*, from which nobody without ``SECRET_KEY`` can guess it."""
    salted = _salted(str(settings.SECRET_KEY)).copy()
    salted.update(text.encode())
    return salted.hexdigest()


@functools.lru_cache(maxsize=8)
def _salted(secret_key: str) -> hmac.HMAC:
    return salted_hmac("django_jobs.keys", "", secret_key, algorithm="sha256")


def _digest(text: str) -> str:
    return digest(text)[:32]
