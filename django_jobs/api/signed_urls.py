"""Signed URLs that show one job, for a limited time."""

from __future__ import annotations

import time
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

_SALT = "django_jobs.status"


class Ticket(NamedTuple):
    """The rights of a signed token."""

    shows_result: bool


def status_url(job_id: UUID, *, shows_result: bool, max_age: float) -> str:
    """Return the path of the job's status, with a token that expires after *max_age* seconds."""
    if not max_age > 0:
        raise ValueError(f"max_age must be seconds above 0, got {max_age!r}.")
    claims = {"id": job_id.hex, "until": int(time.time() + max_age), "result": shows_result}
    token = signing.dumps(claims, salt=_SALT)
    try:
        path = reverse("django_jobs:status", args=[job_id])
    except NoReverseMatch:
        raise ImproperlyConfigured(
            "No URL shows the state of jobs. "
            'Add path("jobs/", include("django_jobs.urls")) to your urls.py.'
        ) from None
    return f"{path}?{urlencode({'token': token})}"


def read(token: str, job_id: UUID) -> Ticket | None:
    """Return the rights of *token*, or None if it is forged, expired or for another job."""
    try:
        claims = signing.loads(token, salt=_SALT)
    except signing.BadSignature:
        return None
    if claims["id"] != job_id.hex or claims["until"] < time.time():
        return None
    return Ticket(claims["result"])
