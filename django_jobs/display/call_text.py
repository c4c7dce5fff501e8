"""The arguments of a job as text, with the names of their parameters."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..define.hidden_arguments import rules_of


def call_line(arguments: Sequence[tuple[str, Any]]) -> str:
    """Return the arguments of :func:`named_arguments` as ``user_id=11, amount=29.08``."""
    return ", ".join(
        f"{name}={compact(value)}" if name else compact(value) for name, value in arguments
    )


def named_arguments(
    name: str, options: str | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """Return each argument with the name of its parameter.

    The name is empty where an argument has no parameter of its own, or where the job function is
    unknown. *options* is the row's JSON text.
    """
    names = rules_of(name, options).positional
    by_position = itertools.zip_longest(names[: len(args)], args, fillvalue="")
    return [*by_position, *kwargs.items()]


def compact(value: Any) -> str:
    """Return a JSON value on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)
