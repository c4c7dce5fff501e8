"""The rows of the tables of Celery's names.

The page "Coming from Celery" shows the tables (``docs/celery_tables.py`` writes them); the errors,
the system checks and ``manage.py jobs doctor-celery`` use their texts.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import NamedTuple

_MARKUP = re.compile(r" \(:(?:doc|ref):`\w+`\)|``")
_NOTHING = "None"


class Rule(NamedTuple):
    """Celery's names, which may have wildcards, and what takes their place.

    The text is reStructuredText. It begins with ``None`` if nothing takes the place of the names.
    """

    names: tuple[str, ...]
    text: str

    @property
    def is_deletable(self) -> bool:
        """Whether nothing takes the place of the names."""
        return self.text.startswith(_NOTHING)

    @property
    def advice(self) -> str:
        """The text for a terminal: what to use, or that the name can be deleted and why."""
        if not self.is_deletable:
            return sentence(f"Use {plain(self.text)}")
        return sentence(f"Delete it{plain(self.text).removeprefix(_NOTHING)}")


def rule(names: str, text: str) -> Rule:
    """Return the rule for *names*, which are separated by blanks."""
    return Rule(tuple(names.split()), text)


def find(table: Iterable[Rule], name: str) -> Rule | None:
    """Return the first rule with this name or with a wildcard that matches it, or None."""
    for each in table:
        if name in each.names or any(fnmatch.fnmatchcase(name, glob) for glob in each.names):
            return each
    return None


def plain(text: str) -> str:
    """Return *text* without the markup of reStructuredText."""
    return _MARKUP.sub("", text)


def sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."
