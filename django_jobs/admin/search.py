"""The search of the job list."""

from __future__ import annotations

import shlex
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from ..display.argument_search import argument_is

#: The qualifiers and their lookups; ``args.name:value`` is handled apart.
QUALIFIERS = {"job": "name__icontains", "queue": "queue", "error": "error_class__icontains"}

_MOST_WORDS = 50


def is_id(term: str) -> UUID | None:
    """Return *term* as an id, or None if it is not one."""
    try:
        return UUID(term.strip())
    except ValueError:
        return None


def search(jobs: QuerySet[Any], term: str) -> QuerySet[Any]:
    """Return the job with the id *term*, or else the jobs that match every word of *term*.

    A word is a part of the job function's name, or ``job:…``, ``queue:…``, ``error:…`` or
    ``args.name:value``. Sensitive arguments cannot be searched.
    """
    if (job_id := is_id(term)) is not None:
        return jobs.filter(pk=job_id)
    words = _words(term)
    if len(words) > _MOST_WORDS:  # SQLite limits the number of conditions
        return jobs.none()
    for word in words:
        key, colon, value = word.partition(":")
        if key in QUALIFIERS and colon:
            jobs = jobs.filter(**{QUALIFIERS[key]: value})
        elif key.startswith("args.") and colon:
            jobs = jobs.filter(argument_is(key.removeprefix("args."), value))
        else:
            jobs = jobs.filter(name__icontains=word)
    return jobs


def _words(term: str) -> list[str]:
    term = term.replace("\0", "")  # PostgreSQL raises an error for it
    try:
        return shlex.split(term)
    except ValueError:  # a quotation without an end
        return term.split()
