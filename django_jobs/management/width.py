"""The width of texts in a terminal, where a Chinese character takes two columns."""

from __future__ import annotations

import unicodedata


def width(text: str) -> int:
    """Return the width of *text*, a single line, in columns."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def padded(text: str, columns: int) -> str:
    """Return *text*, padded with blanks to at least *columns* columns."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """Return the start of *text* that fits into *columns* columns."""
    if width(text) <= columns:
        return text
    used = 0
    for position, character in enumerate(text):
        used += _columns(character)
        if used > columns:
            return text[:position]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
