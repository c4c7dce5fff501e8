"""Tests marked ``once`` do not depend on the database: they run beside the first one only."""

from __future__ import annotations

import re

#: All tests of a module are marked.
MODULE = re.compile(r"^pytestmark = (pytest\.mark\.once$|\[[^]]*\bmark\.once\b)", re.MULTILINE)


def is_deselected(source: str, chosen: str) -> bool:
    """Tell whether ``once`` or ``not once`` deselects each test of a module."""
    if chosen == "once":
        return "mark.once" not in source
    return MODULE.search(source) is not None
