"""Checks that the calls of a workflow fit their job functions, with the results they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import registry
from .canvas import Canvas, Chord, Group, Signature
from .hidden_arguments import rules_of
from .sensitive import shown_arguments
from .signature_text import shown_code

if TYPE_CHECKING:
    from ..api.job import JobFunction

# Characters of an argument within a message.
_LONGEST_ARGUMENT = 100
_FAILURE = "the dict that tells of the failure"


def check_errback(errback: Canvas) -> None:
    """Raise ``TypeError`` when the first jobs of *errback* cannot take an errback's argument.

    Job functions that this process does not know are not checked.
    """
    if isinstance(errback, Signature):
        function = registry.find(errback.task)
        if function is not None and not errback.immutable:
            bind_with_result(function, errback.args, errback.kwargs, _FAILURE)
        elif function is not None:
            function.bind(errback.args, errback.kwargs)
    elif isinstance(errback, Group):
        for member in errback.tasks:
            check_errback(member)
    else:
        check_errback(errback.header if isinstance(errback, Chord) else errback["chain"][0])


def bind_with_result(
    function: JobFunction[..., Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    result: str,
) -> None:
    """Raise ``TypeError`` when a result and the call's own arguments do not fit the signature.

    *result* describes the result in the message.
    """
    try:
        function.bind([None, *args], kwargs)
    except TypeError as error:
        problem = str(error)
    else:
        return
    try:
        function.bind(args, kwargs)
    except TypeError:
        raise TypeError(f"{problem}. It gets {result} first.") from None
    # The call fits without the result, so the result is one argument too many.
    rules = dataclasses.replace(rules_of(function.name), is_partial=True)
    shown = shown_arguments(rules, list(args), dict(kwargs))
    given = [result, *map(_brief, shown.args)]
    given += [f"{name}={_brief(value)}" for name, value in shown.kwargs.items()]
    listed = " and ".join([", ".join(given[:-1]), given[-1]] if given[1:] else given)
    raise TypeError(
        f"{function.name}{function.shown_signature} takes {_number(function)} and would get "
        f"{len(given)}: {listed}. Use .si() to ignore {result}."
    )


def _brief(value: Any) -> str:
    """Return an argument as code, cut. Of other objects it shows the class: they may be secret."""
    text = shown_code(value)
    return text if len(text) <= _LONGEST_ARGUMENT else f"{text[: _LONGEST_ARGUMENT - 1]}…"


def _number(function: JobFunction[..., Any, Any]) -> str:
    known = [p for p in function.call_signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    most = "" if all(each.default is each.empty for each in known) else "at most "
    return f"{most}{len(known) or 'no'} argument{'' if len(known) == 1 else 's'}"
