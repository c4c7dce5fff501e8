"""The signature that the calls of a job function must fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from ..suggest import closest

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from .key_values import Key
    from .options import JobOptions

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def call_signature(
    function: Callable[..., Any], name: str, options: JobOptions
) -> inspect.Signature:
    """Return the signature that a call must fit.

    With ``bind`` the first parameter, for the running job, is left out. Raises
    ``ImproperlyConfigured`` when there is none. The calls of a batch fit that of the option
    ``call_signature``; without it they may have any arguments. *name* is the job function's.
    """
    if options.batch_size is not None:
        return _ANY_CALL if options.call_signature is None else _signature(options.call_signature)
    signature = _signature(function)
    if not options.bind:
        return signature
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in _POSITIONAL:
        raise ImproperlyConfigured(
            f"@job {name}: bind=True passes the running job first, but the function takes no "
            "positional argument. Give it one, as in def f(self, ...)."
        )
    return signature.replace(parameters=parameters[1:])


def _any_call(*args, **kwargs):  # type: ignore[no-untyped-def]
    """Take any call; annotations would stand in the texts of the signature."""


_ANY_CALL = inspect.signature(_any_call)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    # A wrapper with its own parameters may add or remove arguments, so its signature counts. A
    # wrapper that takes ``*args, **kwargs`` passes them on to the wrapped function.
    own = inspect.signature(function, follow_wrapped=False)
    passes_on = all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own.parameters.values())
    return inspect.signature(function) if passes_on else own


def positional(signature: inspect.Signature) -> tuple[str, ...]:
    """Return the names of the parameters that positional arguments fill, in order."""
    return tuple(p.name for p in signature.parameters.values() if p.kind in _POSITIONAL)


def fitting_numbers(signature: inspect.Signature) -> range:
    """Return which numbers of positional arguments fit when there are no keyword arguments.

    This spares most calls the full binding. With parameters of another kind the range is empty.
    """
    parameters = signature.parameters.values()
    if not all(p.kind in _POSITIONAL for p in parameters):
        return range(0)
    return range(sum(p.default is p.empty for p in parameters), len(parameters) + 1)


def unexpected(signature: inspect.Signature, kwargs: Mapping[str, Any]) -> str:
    """Say which keyword argument has no parameter, and which one may be meant; "" when all do."""
    known = signature.parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return ""
    for name in kwargs:
        if name not in known:
            near = closest(name, known, 1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            return f"unexpected argument {name!r}{meant}"
    return ""


def check_names(function: JobFunction[..., Any, Any], option: str, wanted: Key | None) -> None:
    """Raise ``ImproperlyConfigured`` when the key *option* names something else than parameters."""
    for name in () if wanted is None or callable(wanted) else wanted:
        if name not in function.call_signature.parameters:
            raise ImproperlyConfigured(
                f"@job {function.name}: {option} names {name!r}, which is not a parameter. Use "
                f"some of {', '.join(function.call_signature.parameters)}."
            )


def check_schedule(function: JobFunction[..., Any, Any]) -> None:
    """Raise ``ImproperlyConfigured`` when the arguments in ``schedule=`` do not fit."""
    entry = function.options.schedule if isinstance(function.options.schedule, Mapping) else {}
    args, kwargs = entry.get("args") or (), entry.get("kwargs") or {}
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
        return  # the system checks report it
    try:
        function.bind(args, kwargs)
    except TypeError as error:
        raise ImproperlyConfigured(
            f"@job {function.name}: schedule= gives arguments that do not fit ({error}) Write "
            'schedule={"schedule": ..., "args": [...], "kwargs": {...}}.'
        ) from None
