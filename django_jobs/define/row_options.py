"""Reads the options of a job's row, a JSON text.

Besides the call's own options they have the keys ``takes``, ``later``, ``link_error``, ``for``,
``group`` and ``shape`` of the job's workflow. People may have edited the row, so a value of the
wrong type counts as missing: a worker that records one job must not fail because of another one.
"""

from __future__ import annotations

import json
from typing import Any

from ..moments import LONGEST_SECONDS

#: How a job may take results, besides nested lists of ``"value"``.
TAKES = ("value", "list", "summary", "nothing")

#: The JSON form of a signature, and the place of the first job whose failure it handles.
StoredErrback = tuple[Any, str | None]


def option(options: str | None, name: str) -> Any:
    """Return the value of the key *name* in the JSON text *options*, or None."""
    # Only a text that contains the name is parsed. The name may also be elsewhere in it, as in the
    # arguments of an errback.
    if options is None or f'"{name}"' not in options:
        return None
    try:
        found = json.loads(options)
    except (ValueError, RecursionError):
        return None
    return found.get(name) if isinstance(found, dict) else None


def takes(options: str | None) -> Any:
    """Return how a job takes results, or None; raise ``ValueError`` for another value."""
    found = option(options, "takes")
    if found is None or found in TAKES:
        return found
    left = [found]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += each
        elif each != "value":
            raise ValueError(
                f"The option takes must be one of {', '.join(TAKES)} or a list of 'value' and such "
                f"lists, the row has {found!r:.100}."
            )
    return found


def later(options: str | None) -> dict[str, float]:
    """Return the times in seconds that count from when the job becomes ready, by option."""
    found = option(options, "later")
    times = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in times if _is_time(value)}


def errbacks(options: str | None) -> list[StoredErrback]:
    """Return the errbacks of a job."""
    found = option(options, "link_error")
    pairs = found if isinstance(found, list) else []
    return [(pair[0], pair[1]) for pair in pairs if _is_errback(pair)]


def place(options: str | None) -> str | None:
    """Return a job's place in the order of its workflow, if it differs from its id."""
    found = option(options, "for")
    return found if isinstance(found, str) else None


def group(options: str | None) -> str | None:
    """Return the id of the group whose end the job reports."""
    found = option(options, "group")
    return found if isinstance(found, str) else None


def _is_time(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LONGEST_SECONDS  # type: ignore[arg-type]


def _is_errback(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    return pair[1] is None or isinstance(pair[1], str)
