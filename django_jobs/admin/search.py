from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet


def search(jobs: QuerySet[Any], term: str) -> QuerySet[Any]:
    """Return the job with that id, else those whose job function's name has all the words."""
    try:
        return jobs.filter(pk=UUID(term.strip()))
    except ValueError:
        for word in term.split():
            jobs = jobs.filter(name__icontains=word)
        return jobs
