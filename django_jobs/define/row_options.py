"""What the options of a job's row hold for its workflow, read from their JSON text.

A row may have been edited by hand. A value of the wrong kind reads as none: whoever records the end
of a job must not fail over the options of another one.
"""

from __future__ import annotations

import json
from typing import Any

from ..moments import LONGEST_SECONDS

#: How a job may take results, but for lists of ``"value"`` and such lists.
TAKES = ("value", "list", "summary", "nothing")

#: The JSON form of a signature, and the place of the first job whose failure it is told of.
StoredErrback = tuple[Any, str | None]


def option(options: str | None, name: str) -> Any:
    """Return what the JSON text *options* has under the key *name*, or None."""
    # Most jobs have no options. A text without the name need not be parsed; one with it may have it
    # anywhere, as in the arguments of an errback.
    if options is None or f'"{name}"' not in options:
        return None
    try:
        found = json.loads(options)
    except (ValueError, RecursionError):
        return None
    return found.get(name) if isinstance(found, dict) else None


def takes(options: str | None) -> Any:
    """Return how a job takes results; raise ``ValueError`` for what says no such thing."""
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
    """Return the times that count from when a job becomes ready, in seconds."""
    found = option(options, "later")
    times = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in times if _is_time(value)}


def errbacks(options: str | None) -> list[StoredErrback]:
    """Return what is enqueued when a job fails."""
    found = option(options, "link_error")
    pairs = found if isinstance(found, list) else []
    return [(pair[0], pair[1]) for pair in pairs if _is_errback(pair)]


def place(options: str | None) -> str | None:
    """Return where a job stands in the order of its workflow, where its id does not tell."""
    found = option(options, "for")
    return found if isinstance(found, str) else None


def group(options: str | None) -> str | None:
    """Return the id of the group whose end a job tells of."""
    found = option(options, "group")
    return found if isinstance(found, str) else None


def _is_time(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LONGEST_SECONDS  # type: ignore[arg-type]


def _is_errback(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    return pair[1] is None or isinstance(pair[1], str)
