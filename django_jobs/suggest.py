"""Suggests a known name for a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: object, known: Iterable[str], most: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the *known* names that resemble *name*, ignoring case; the most similar first."""
    by_folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(str(name).casefold(), by_folded, most, cutoff)
    return [by_folded[each] for each in found]


def functions_meant(name: str, known: Iterable[str]) -> list[str]:
    """Return the *known* job functions that *name* may mean.

    A function that moved to another module has the same last part, and people often type only that.
    """
    own = name.rpartition(".")[2].casefold()
    names = list(known)
    moved = [each for each in names if each.rpartition(".")[2].casefold() == own]
    return closest(name, moved, cutoff=0.0) if moved else closest(name, names)


def did_you_mean(name: object, known: Iterable[str], most: int = 3) -> str:
    """Return ``" Did you mean 'a' or 'b'?"`` for the closest of the *known* names, or nothing."""
    return question(closest(name, known, most))


def question(meant: Iterable[str]) -> str:
    """Return ``" Did you mean 'a' or 'b'?"`` to follow a sentence; empty without names."""
    names = " or ".join(map(repr, meant))
    return f" Did you mean {names}?" if names else ""
