"""Reads a request's body within a bound, and checks its fields."""

from __future__ import annotations

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
    str: "a text", list: "an array", dict: "an object", int: "a number", bool: "true or false",
    type(None): "null",
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


def wrong_body(fields: Any, kinds: Kinds, needed: Collection[str] = ()) -> str:
    """Return what is wrong with *fields*, or an empty text; it quotes no value."""
    if not isinstance(fields, dict):
        return "the body must be a JSON object"
    if unknown := sorted(fields.keys() - kinds.keys()):
        allowed = ", ".join(kinds) or "none"
        return f"unknown field {unknown[0]!r:.100}; allowed: {allowed}"
    for name, value in fields.items():
        if not _fits(value, kinds[name]):
            words = dict.fromkeys(_WORDS[int if kind is float else kind] for kind in kinds[name])
            return f"{name} must be {' or '.join(words)}"
    for name in needed:
        if name not in fields:
            return f"the field {name} is missing"
    return ""


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
