"""The search of the job list."""

from __future__ import annotations

import functools
import operator
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..define import registry
from ..define.hidden_arguments import rules_of
from ..display.argument_search import LONGEST_VALUE, argument_is, is_hidden, most_conditions

_MESSAGE = "error_message__icontains"
#: The qualifiers and the lookups, any of which a row may match; ``args.name:value`` is apart.
QUALIFIERS = {
    "job": ("name__icontains",),
    "queue": ("queue",),
    "error": ("error_class__icontains", _MESSAGE),
}
_ANY_TEXT = (*QUALIFIERS["job"], *QUALIFIERS["error"])
_COMPARISON = re.compile(r"[<>]=?-?\d|-?\d+\.\.-?\d")

#: The syntax of the search, for people.
HELP = gettext_lazy(
    "A job's id, a part of the job function's name or of the error, or job:, queue:, error:, "
    "args.name: with a value."
)
_MOST_WORDS = 50


def is_id(term: str) -> UUID | None:
    """Return *term* as an id, or None if it is not one."""
    try:
        return UUID(term.strip())
    except ValueError:
        return None


def search(jobs: QuerySet[Any], term: str) -> QuerySet[Any]:
    """Return the job with the id *term*, or else the jobs that match every word of *term*.

    A word is a part of the job function's name or of the error, or ``job:…``, ``queue:…``,
    ``error:…`` or ``args.name:value``. The search never reads sensitive arguments. It reads error
    messages, because rows store them without secrets. It skips the messages of unknown functions,
    because all arguments of these are hidden.
    """
    if (job_id := is_id(term)) is not None:
        return jobs.filter(pk=job_id)
    words = words_of(term)
    # SQLite limits the number of conditions and the length of a text to look for.
    if len(words) > _most(words) or any(len(word) > LONGEST_VALUE for word in words):
        return jobs.none()
    for word in words:
        key, colon, value = word.partition(":")
        if key in QUALIFIERS and colon:
            jobs = jobs.filter(_any(QUALIFIERS[key], value))
        elif key.startswith("args.") and colon:
            jobs = jobs.filter(argument_is(key.removeprefix("args."), value))
        else:
            jobs = jobs.filter(_any(_ANY_TEXT, word))
    return jobs


def problems(term: str) -> list[str]:
    """Return sentences about words that the search may have misread or that it ignores."""
    if is_id(term) is not None:
        return []
    words = words_of(term)
    if len(words) > (most := _most(words)):
        return [_("A search has at most %d words.") % most]
    if any(len(word) > LONGEST_VALUE for word in words):
        return [_("A word of a search has at most %d characters.") % LONGEST_VALUE]
    return [text for word in words if (text := _problem(*word.partition(":")))]


def _most(words: Sequence[str]) -> int:
    """Return how many words a search may have: fewer on a site with thousands of job functions."""
    has_arguments = any(word.startswith("args.") for word in words)
    return min(_MOST_WORDS, most_conditions() if has_arguments else most_conditions(names=1))


def _problem(key: str, colon: str, value: str) -> str:
    if not colon or key in QUALIFIERS:
        return ""
    if not key.startswith("args."):
        text = _(
            "“%s:” is no qualifier, so the text was searched for. The qualifiers are job:, queue:, "
            "error: and args.name:."
        )
        return text % key
    name = key.removeprefix("args.")
    if name.isdecimal():
        text = _("“%s:” has no name: write the parameter's, as in args.user_id:42.")
        return text % key
    if _COMPARISON.match(value):
        text = _("“%(key)s:%(value)s” compares: the search finds equal values only.")
        return text % {"key": key, "value": value}
    if is_hidden(name, value):
        return _("The argument “%s” is hidden, so it cannot be searched.") % name
    if not any(_takes(function, name) for function in registry.every()):
        return _("No job function has a parameter “%s”.") % name
    return ""


def _takes(function: Any, name: str) -> bool:
    rules = rules_of(function.name)
    return name in rules.positional or name in rules.named or rules.keywords is not None


def _any(lookups: Iterable[str], value: str) -> Q:
    return functools.reduce(operator.or_, (_one(lookup, value) for lookup in lookups))


def _one(lookup: str, value: str) -> Q:
    if lookup != _MESSAGE:
        return Q(**{lookup: value})
    return Q(**{lookup: value}, name__in=[function.name for function in registry.every()])


def words_of(term: str) -> list[str]:
    term = term.replace("\0", "")  # PostgreSQL raises an error for it
    try:
        return shlex.split(term)
    except ValueError:  # a quotation without an end
        return term.split()
