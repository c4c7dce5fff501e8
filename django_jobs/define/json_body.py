"""Reads a request's body within a bound, and checks its fields."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import RequestDataTooBig

if TYPE_CHECKING:
    from django.http import HttpRequest

Kinds = Mapping[str, tuple[type, ...]]

#: The fields of a body that are options of a call.
CALL_OPTIONS: Kinds = {
    "queue": (str,),
    "priority": (int,),
    "countdown": (int, float),
    "expires": (int, float),
    "headers": (dict,),
}
#: The fields of a body that are a call.
CALL: Kinds = {"job": (str,), "args": (list,), "kwargs": (dict,), **CALL_OPTIONS}

_WORDS: dict[type, str] = {
    str: "a text", list: "an array", dict: "an object", int: "a whole number", float: "a number",
    bool: "true or false", type(None): "null",
}  # fmt: skip


def bounded_body(request: HttpRequest, limit: int) -> bytes | None:
    """Return the body, or None if it has more than *limit* bytes or a wrong length."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
            return None
        body = request.body
    except (ValueError, RequestDataTooBig):
        return None
    # A request in chunks tells no length before.
    return body if len(body) <= limit else None


def read_fields(body: bytes, kinds: Kinds, needed: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of the JSON object *body*, each of one of its kinds.

    Raises ``ValueError`` with a text that quotes no value.
    """
    try:
        fields: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("The body must be JSON.") from None
    if problem := _problem(fields, kinds, needed):
        raise ValueError(problem)
    return {
        name: int(value) if _is_whole(value, kinds[name]) else value
        for name, value in fields.items()
    }


def _problem(fields: Any, kinds: Kinds, needed: Collection[str]) -> str:
    if not isinstance(fields, dict):
        return "The body must be a JSON object."
    if unknown := sorted(fields.keys() - kinds.keys()):
        allowed = ", ".join(kinds) or "none"
        return f"Unknown field {unknown[0]!r:.100}; allowed: {allowed}."
    for name, value in fields.items():
        if not _fits(value, kinds[name]):
            asked = set(kinds[name]) - ({int} if float in kinds[name] else set())
            words = [word for kind, word in _WORDS.items() if kind in asked]
            return f"{name} must be {' or '.join(words)}."
    for name in needed:
        if name not in fields:
            return f"The field {name} is missing."
    return ""


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:
    if _is_whole(value, kinds):
        return True
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _is_whole(value: Any, kinds: tuple[type, ...]) -> bool:
    """Say whether it is a whole number that its program wrote as 3.0, as JSON allows."""
    return isinstance(value, float) and int in kinds and float not in kinds and value.is_integer()
