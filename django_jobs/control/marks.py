"""Marks in the charts of the admin, such as deploys."""

from __future__ import annotations

from ..conf import get_settings
from ..db import unix_time
from ..models import Mark

_LONGEST = 100


def mark(name: str, *, using: str = "") -> None:
    """Mark this moment in the charts of the admin, by a name such as ``"v1.4"``.

    *using* is the database's alias, by default that of the ``DATABASE`` setting. Raises
    ``ValueError`` for a name that is no text, is blank, or has more than 100 characters.
    """
    if not isinstance(name, str):
        raise ValueError(f"A mark's name must be a text, got {type(name).__name__}.")
    shown = " ".join(name.split())
    if not (0 < len(shown) <= _LONGEST) or not shown.isprintable():
        raise ValueError(
            f"A mark's name must have 1 to {_LONGEST} printable characters, got {len(shown)}. "
            "Use a version such as v1.4."
        )
    using = using or get_settings().database
    Mark.objects.using(using).create(at=int(unix_time(using)), name=shown)
