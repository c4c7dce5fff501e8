"""Decides the questions that jobs ask people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction

from ..db import clock, without_deadlock
from ..define.approval_form import checked_answers
from ..events.ending import End, end_waits
from ..exceptions import JobDoesNotExist, NoOpenQuestion
from ..ids import uuids
from ..locking import lock_jobs
from ..models import Approval, EventWait, Job
from ..status import Status
from .jobs import Note, by_database, nothing

LONGEST_COMMENT = 10_000
LONGEST_BY = 200


def answer(
    job_id: UUID | str,
    choice: str,
    comment: str = "",
    user: Any = None,
    *,
    form: Mapping[str, Any] | None = None,
    by: str = "",
    key: str = "",
    link: str = "",
    note: Note = nothing,
) -> None:
    """Answer the question that a job asks, in the caller's transaction: the job goes on.

    The arguments and errors are those of :func:`django_jobs.answer`. *link* is the number of the
    signed link that decides; *note* is called with the job in the transaction.
    """
    if not isinstance(comment, str) or len(comment) > LONGEST_COMMENT:
        raise ValueError(f"The comment must be a text of at most {LONGEST_COMMENT} characters.")
    who = by if user is None else user.get_username()
    if not isinstance(who, str) or len(who) > LONGEST_BY:
        raise ValueError(f"answer(by=...) must be a text of at most {LONGEST_BY} characters.")
    ((using, (uuid,)),) = by_database(uuids([job_id]))

    def write() -> None:
        with transaction.atomic(using):
            job, approval, wait = _open(uuid, key, using)
            _check(approval, choice, user, link, using)
            answers = checked_answers(approval.form, form)
            rows = Approval.objects.using(using).filter(pk=approval.pk)
            rows.update(
                choice=choice, comment=comment, answers=answers, decided_by=who,
                decided_at=clock(using), link=link,
            )  # fmt: skip
            end_waits([wait], End(_stored(rows.get())), using)
            note([job])

    without_deadlock(using, write)


def _open(job_id: UUID, key: str, using: str) -> tuple[Job, Approval, EventWait]:
    """Lock the job; return its open question."""
    locked = lock_jobs([job_id], using)
    if not locked:
        raise JobDoesNotExist(f"There is no job {job_id}.")
    waits = EventWait.objects.using(using).filter(job_id=job_id, approval_id__isnull=False)
    wait = waits.first()
    if wait is None or locked[0].status != Status.WAITING or key not in ("", wait.key):
        raise NoOpenQuestion(_why_none(job_id, key, using))
    return locked[0], Approval.objects.using(using).get(pk=wait.approval_id or 0), wait


def _why_none(job_id: UUID, key: str, using: str) -> str:
    asked = Approval.objects.using(using).filter(job_id=job_id).order_by("-id")
    last = (asked.filter(key=key) if key else asked).first()
    if last is None:
        return f"Job {job_id} has asked no such question."
    if last.decided_at is None:
        return f"The question of job {job_id} is not open: its time was over, or the job ended."
    by = f" by {last.decided_by}" if last.decided_by else ""
    return f"The question of job {job_id} was decided{by}: {last.choice}."


def _check(approval: Approval, choice: str, user: Any, link: str, using: str) -> None:
    if user is not None and not may_answer(user, approval):
        raise PermissionDenied(f"The answer needs the permission {approval.permission}.")
    if choice not in approval.choices:
        known = ", ".join(map(repr, approval.choices))
        raise ValueError(f"The choice must be one of {known}, got {choice!r:.120}.")
    if link and Approval.objects.using(using).filter(job_id=approval.job_id, link=link).exists():
        raise NoOpenQuestion("The link has decided before, and a link decides once.")


def may_answer(user: Any, approval: Approval) -> bool:
    """Return whether *user* may decide."""
    return bool(user.is_active and user.has_perm(approval.permission))


def _stored(decided: Approval) -> dict[str, Any]:
    """Return the decision as the step has it; ``Decision.read()`` reads it."""
    return {
        "choice": decided.choice,
        "comment": decided.comment,
        "by": decided.decided_by,
        "at": decided.decided_at.isoformat() if decided.decided_at else "",
        "form": decided.answers,
    }
