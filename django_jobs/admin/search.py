"""What the search field of the job list understands."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from ..define import registry
from ..define.hidden_arguments import HAS_TAKES, rules_of
from ..redaction import is_sensitive

#: The qualifiers, and how each is looked up; ``args.key:value`` is apart.
QUALIFIERS = {"job": "name__icontains", "queue": "queue", "error": "error_class__icontains"}

_MOST_WORDS = 50
_TEXT = r'"([^"\\]|\\.)*"'
_SCALAR = rf'({_TEXT}|[^]\[,"{{}}]+)'


def is_id(term: str) -> UUID | None:
    """Return the id that *term* is, if it is one."""
    try:
        return UUID(term.strip())
    except ValueError:
        return None


def search(jobs: QuerySet[Any], term: str) -> QuerySet[Any]:
    """Return the job with that id, else those that every word of *term* fits.

    A word is a part of the job function's name, or ``job:…``, ``queue:…``, ``error:…`` or
    ``args.name:value``. The values of sensitive arguments cannot be searched for.
    """
    if (job_id := is_id(term)) is not None:
        return jobs.filter(pk=job_id)
    words = _words(term)
    if len(words) > _MOST_WORDS:  # more conditions than SQLite takes, and no name has so many parts
        return jobs.none()
    for word in words:
        key, colon, value = word.partition(":")
        if key in QUALIFIERS and colon:
            jobs = jobs.filter(**{QUALIFIERS[key]: value})
        elif key.startswith("args.") and colon:
            jobs = jobs.filter(_argument(key.removeprefix("args."), value))
        else:
            jobs = jobs.filter(name__icontains=word)
    return jobs


def _words(term: str) -> list[str]:
    term = term.replace("\0", "")  # PostgreSQL refuses to compare with it
    try:
        return shlex.split(term)
    except ValueError:  # a quotation that does not end
        return term.split()


def _argument(name: str, value: str) -> Q:
    """Return the condition that the argument *name* is *value*, given by name or by position.

    Of values that are arrays or objects nothing is found: what is blanked inside them must not be
    found out by searching for it.
    """
    functions = list(registry.every())
    extra = {one for function in functions for one in function.options.sensitive}
    if is_sensitive(name, extra):
        return Q(pk=None)
    # Rows that were not enqueued, but made by code, may have their letters escaped.
    quoted = {json.dumps(value, ensure_ascii=False), json.dumps(value)}
    wanted = "|".join(re.escape(text) for text in quoted | _bare(value))
    key = re.escape(json.dumps(name, ensure_ascii=False))
    rules = {function.name: rules_of(function.name) for function in functions}
    named = [function for function, one in rules.items() if not one.hides_name(name)]
    pattern = rf"^\{{({_TEXT}:{_SCALAR},)*{key}:({wanted})[,}}]"
    condition = Q(name__in=named, kwargs__regex=pattern)
    places: dict[int, list[str]] = {}
    for function, one in rules.items():
        if name in one.positional:
            places.setdefault(one.positional.index(name), []).append(function)
    takes = Q(options__contains=HAS_TAKES)
    for place, names in places.items():
        pattern = rf"^\[({_SCALAR},){{{place}}}({wanted})[],]"
        condition |= ~takes & Q(name__in=names, args__regex=pattern)
        if place:  # the first parameter takes the result of the job before
            taken = takes & ~Q(options__contains='"nothing"')
            pattern = rf"^\[({_SCALAR},){{{place - 1}}}({wanted})[],]"
            condition |= taken & Q(name__in=names, args__regex=pattern)
    return condition


def _bare(value: str) -> set[str]:
    """Return *value* as JSON without quotes, where it can be that: a number, true, false, null."""
    return {value} if re.fullmatch(r"-?[\d.]+([eE][-+]?\d+)?|true|false|null", value) else set()
