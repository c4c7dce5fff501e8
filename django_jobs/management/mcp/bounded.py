"""JSON that an agent's context can hold."""

from __future__ import annotations

import json
from typing import Any

#: Characters of one answer.
LONGEST_ANSWER = 40_000

# The most characters of a text and the most items of a list, until the answer is short enough.
_STEPS = ((4_000, 200), (1_000, 100), (200, 50), (80, 20), (40, 5), (20, 1))
_MOST_COLUMNS = 50
_ADVICE = "Texts and lists were cut. Ask for fewer jobs, or for one job."


def bounded(answer: dict[str, Any], most: int = LONGEST_ANSWER) -> str:
    """Return *answer* as JSON of at most *most* characters; say so if texts or lists were cut."""
    text = _written(answer)
    for longest, items in _STEPS:
        if len(text) <= most:
            return text
        text = _written({**_cut(answer, longest, items), "cut": _ADVICE})
    if len(text) <= most:
        return text
    return _written({"cut": f"The answer has more than {most} characters. {_ADVICE}"})


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cut(value: Any, longest: int, items: int) -> Any:
    if isinstance(value, str):
        left = len(value) - longest
        # The end of a traceback names the error.
        half = longest // 2
        return f"{value[:half]} … {left} more characters … {value[-half:]}" if left > 0 else value
    if isinstance(value, list):
        more = [f"… and {len(value) - items} more"] if len(value) > items else []
        return [*(_cut(one, longest, items) for one in value[:items]), *more]
    if isinstance(value, dict):
        # A row of ours has fewer columns.
        first = list(value.items())[: max(items, _MOST_COLUMNS)]
        return {_cut(name, longest, items): _cut(one, longest, items) for name, one in first}
    return value
