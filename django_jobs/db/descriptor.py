"""The file descriptor of a driver's connection to its server."""

from __future__ import annotations

from typing import Any


def descriptor_of(raw: Any) -> int:
    """Return the descriptor of the socket; raise ``AttributeError`` if the driver hides it."""
    # PyMySQL has no fileno().
    source = raw if hasattr(raw, "fileno") else raw._sock
    number: int = source.fileno()
    return number
