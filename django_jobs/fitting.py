"""Whether a call of a workflow fits its job function, with the result that comes before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .rules import rules_of

if TYPE_CHECKING:
    from .define import JobFunction


def bind_with_result(
    function: JobFunction[..., Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    result: str,
) -> None:
    """Raise ``TypeError`` when a result and the call's own arguments do not fit the signature.

    *result* says for people where the result comes from.
    """
    try:
        function.bind([None, *args], kwargs)
    except TypeError as error:
        try:
            function.bind(args, kwargs)
        except TypeError:
            raise error from None
    else:
        return
    # Without the result it fits, so that is one too many.
    rules = dataclasses.replace(rules_of(function.name), is_partial=True)
    shown = rules.shown(list(args), dict(kwargs))
    given = [result, *map(repr, shown.args)]
    given += [f"{name}={value!r}" for name, value in shown.kwargs.items()]
    listed = " and ".join([", ".join(given[:-1]), given[-1]] if given[1:] else given)
    raise TypeError(
        f"{function.name}{function.shown_signature} takes {_number(function)} and would get "
        f"{len(given)}: {listed}. Use .si() to ignore the result."
    )


def _number(function: JobFunction[..., Any, Any]) -> str:
    known = function.call_signature.parameters
    most = "" if all(each.default is each.empty for each in known.values()) else "at most "
    return f"{most}{len(known) or 'no'} argument{'' if len(known) == 1 else 's'}"
