"""Deletes ended jobs, and the rows that are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models.signals import post_delete, pre_delete

from ..db import without_deadlock
from ..db.chunks import chunks
from ..locking import in_order, lock_jobs
from ..models import Job
from ..status import ENDED
from ..workflows.graph import is_needed
from .jobs import Note, nothing


def delete(ids: Sequence[UUID], using: str, note: Note = nothing) -> int:
    """Delete the ended ones of the jobs; return how many stay, as another job needs their results.

    *note* is called with the jobs in the transaction, before they are deleted.
    """
    rows = Job.objects.using(using)

    def delete() -> int:
        locked = lock_jobs(ids, using, statuses=ENDED)
        every = [job.pk for job in locked]
        needed: set[UUID] = set()
        for chunk in chunks(every):
            needed.update(rows.filter(is_needed(), pk__in=chunk).values_list("pk", flat=True))
        note([job for job in locked if job.pk not in needed])
        for chunk in chunks([pk for pk in every if pk not in needed]):
            _delete_rows(chunk, using)
        return len(needed)

    return without_deadlock(using, lambda: in_order(using, delete))


def _delete_rows(ids: Sequence[UUID], using: str) -> None:
    """Delete the rows of jobs; Django's cascade would read all of theirs, a hundred at a time."""
    jobs = Job.objects.using(using).filter(pk__in=ids)
    relations: Any = Job._meta.related_objects
    models = {each.related_model for each in relations}
    if any(model._meta.app_label != Job._meta.app_label for model in models) or _are_watched():
        jobs.only("pk").delete()
        return
    for each in relations:
        theirs = each.related_model._base_manager.using(using)
        theirs.filter(**{f"{each.field.name}__in": ids})._raw_delete(using)
    jobs._raw_delete(using)


def _are_watched() -> bool:
    return pre_delete.has_listeners(Job) or post_delete.has_listeners(Job)
