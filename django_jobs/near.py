"""Which known name a mistyped one may mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str], most: int = 3) -> str:
    """Return ``" Did you mean 'a' or 'b'?"`` for the closest of the *known* names, or nothing.

    It begins with a blank, so that it follows a sentence.
    """
    by_folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(str(name).casefold(), by_folded, most)
    return f" Did you mean {' or '.join(repr(by_folded[each]) for each in found)}?" if found else ""
