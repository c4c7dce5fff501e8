"""How many columns of a terminal a text takes: a Chinese character takes two."""

from __future__ import annotations

import unicodedata


def width(text: str) -> int:
    """Return the number of columns that *text*, which is one line, takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def padded(text: str, columns: int) -> str:
    """Return *text* with blanks behind it, so that it takes so many columns at least."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """Return as much of *text* as fits into so many columns."""
    if width(text) <= columns:
        return text
    taken = 0
    for position, character in enumerate(text):
        taken += _columns(character)
        if taken > columns:
            return text[:position]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
