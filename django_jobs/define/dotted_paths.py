"""Settings that name functions by their dotted paths."""

from __future__ import annotations

from django.utils.module_loading import import_string

from ..serialization import type_of


def import_problem(setting: str, path: object) -> str:
    """Return why *path*, an element of *setting*, names no callable, or an empty text."""
    if not isinstance(path, str):
        return f"{setting} must hold dotted paths of functions, got {type_of(path)}."
    try:
        found = import_string(path)
    except ImportError as error:
        return f"{setting} names {path!r}, which cannot be imported: {error}."
    return "" if callable(found) else f"{setting} names {path!r}, which is {type_of(found)}."
