"""Decides which values of a job are encrypted: ``@job(encrypt=...)``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..serialization import loads
from . import envelopes, registry
from .hidden_arguments import CALLERS, called_name, rules_of_function

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from .context import JobContext

#: The package's job function that returns what it takes: a group's results.
ACCUMULATE = "django_jobs.accumulate"
# The package's job functions whose results are those of others.
_HAND_ON = frozenset({ACCUMULATE, *CALLERS})
# The parameter of the package's map and starmap that has the arguments of another function.
_ITEMS = "items"


def encrypts(
    function: JobFunction[..., Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> bool:
    """Return whether the results, the progress and the steps of such a call are encrypted.

    Those of ``map()`` and ``starmap()`` are if the called function's are.
    """
    if function.name in CALLERS:
        name = called_name(function.name, args, kwargs)
        called = registry.find(name) if isinstance(name, str) else None
        return called is not None and bool(called.options.encrypt)
    return bool(function.options.encrypt)


def encrypts_results(context: JobContext) -> bool:
    """Return whether the result, the progress and the steps of a running job are encrypted.

    Those of a job that gathers results are, if one of them is.
    """
    function, job = context.function, context.claimed
    if function.options.encrypt or function.name not in _HAND_ON:
        return bool(function.options.encrypt)
    if function.name == ACCUMULATE:
        return job is not None and job.took_encrypted
    return encrypts(function, context.request.args, context.request.kwargs)


def stored_call(
    function: JobFunction[..., Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    taken: int = 0,
    is_partial: bool = False,
) -> tuple[list[Any], dict[str, Any]]:
    """Return the JSON arguments of a call as rows have them, some in envelopes.

    *taken* results come before them; with *is_partial* any number. Raises ``EncryptionError``.
    """
    rules = rules_of_function(function)
    if function.name in CALLERS and encrypts(function, args, kwargs):
        rules = dataclasses.replace(rules, encrypted=(_ITEMS,))
    rules = dataclasses.replace(rules, positional=rules.positional[taken:], is_partial=is_partial)
    stored_args = [
        envelopes.stored(value, encrypt=rules.encrypts_position(position))
        for position, value in enumerate(args)
    ]
    stored_kwargs = {
        name: envelopes.stored(value, encrypt=rules.encrypts_name(name))
        for name, value in kwargs.items()
    }
    return stored_args, stored_kwargs


def stored_texts(
    function: JobFunction[..., Any, Any], args: str, kwargs: str, taken: int
) -> tuple[str, str]:
    """Return the JSON texts of a call's arguments as rows have them."""
    found = stored_call(function, loads(args), loads(kwargs), taken=taken)
    return envelopes.json_of(found[0]), envelopes.json_of(found[1])
