"""The decisions of people: from code, and by signed links."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model

from ..control import approvals
from ..ids import uuids
from ..models import Job
from ..moments import seconds
from . import signed_urls

_ADMIN = "django.contrib.admin"
_WEEK = 7 * 86_400.0


def answer(
    job_id: UUID | str,
    choice: str,
    comment: str = "",
    user: Any = None,
    *,
    form: Mapping[str, Any] | None = None,
    by: str = "",
    key: str = "",
) -> None:
    """Answer the question that a job asks with ``self.ask()``; the job goes on with the decision.

    It is part of the caller's transaction. *choice* is one of the choices. *user* needs the
    permission that the job named, and is noted as the one who decided, also in the admin's log.
    Without a user *by* is noted, and no permission is checked. *form* has an answer for each field
    that the job named. *key* names the step, if it matters which question is open.

    Raises ``JobDoesNotExist``, ``NoOpenQuestion`` if the job asks nothing or somebody has decided
    already, ``PermissionDenied``, and ``ValueError`` for an invalid choice, comment or form.
    """
    approvals.answer(
        job_id, choice, comment, user, form=form, by=by, key=key, note=note_of(user, choice)
    )


aanswer = sync_to_async(answer)


def note_of(user: Any, choice: str, *, by_link_of: str = "") -> Any:
    """Return a function that writes the decision of *user* to the admin's log.

    *by_link_of* is the user name of who got the link that decides. The log has no entry of a link
    for somebody without a user, because each entry is of a user.
    """

    def note(jobs: Sequence[Job]) -> None:
        if not apps.is_installed(_ADMIN):
            return
        from django.contrib.admin.models import CHANGE, LogEntry

        who, how = user, "Decided"
        if by_link_of:
            users = get_user_model()
            named = {users.USERNAME_FIELD: by_link_of}
            who, how = users._default_manager.filter(**named).first(), "Decided by a signed link"
        if who is not None:
            LogEntry.objects.log_actions(who.pk, jobs, CHANGE, f"{how}: {choice}.")

    return note


def approval_url(
    job_id: UUID | str,
    *,
    by: str = "",
    key: str = "ask",
    max_age: float | datetime.timedelta = _WEEK,
) -> str:
    """Return the path of a page where the holder of the link answers the question of a job.

    Put it behind the address of your site, into a mail for one person. It may be made before the
    job asks. The link decides once, and expires after *max_age* (seconds or a timedelta, by default
    a week). *by* says who got it, and is noted as the one who decides; if it is
    the name of a user, also in the admin's log. *key* is that of ``ask()``.
    A GET of the link decides nothing, because scanners of mails open links.

    Raises ``ValueError`` for an invalid id or *max_age*, and ``ImproperlyConfigured`` if
    ``django_jobs.urls`` is in no ``urls.py``.
    """
    (uuid,) = uuids([job_id])
    age = seconds(max_age, "max_age", least=1.0)
    return signed_urls.approval_url(uuid, key=key, by=by, max_age=age)
