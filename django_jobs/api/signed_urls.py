"""Signed URLs that show one job, or answer its question, for a limited time."""

from __future__ import annotations

import secrets
import time
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

_SALT, _APPROVAL_SALT = "django_jobs.status", "django_jobs.approval"


class Ticket(NamedTuple):
    """The rights of a signed token."""

    shows_result: bool


class ApprovalTicket(NamedTuple):
    """The right to decide once, of a signed token."""

    key: str
    #: The person who got the link.
    by: str
    #: It tells the link from others for the same question.
    number: str


def status_url(job_id: UUID, *, shows_result: bool, max_age: float) -> str:
    """Return the path of the job's status, with a token that expires after *max_age* seconds."""
    if not max_age > 0:
        raise ValueError(f"max_age must be seconds above 0, got {max_age!r}.")
    claims = {"id": job_id.hex, "until": int(time.time() + max_age), "result": shows_result}
    return _signed("status", job_id, claims, _SALT)


def approval_url(job_id: UUID, *, key: str, by: str, max_age: float) -> str:
    """Return the path that answers the question of the job's step *key*, for *max_age* seconds."""
    until, number = int(time.time() + max_age), secrets.token_hex(16)
    claims = {"id": job_id.hex, "until": until, "key": key, "by": by, "number": number}
    return _signed("approval", job_id, claims, _APPROVAL_SALT)


def _signed(name: str, job_id: UUID, claims: dict[str, Any], salt: str) -> str:
    token = signing.dumps(claims, salt=salt)
    try:
        path = reverse(f"django_jobs:{name}", args=[job_id])
    except NoReverseMatch:
        raise ImproperlyConfigured(
            f"No URL shows the {name} of jobs. "
            'Add path("jobs/", include("django_jobs.urls")) to your urls.py.'
        ) from None
    return f"{path}?{urlencode({'token': token})}"


def read(token: str, job_id: UUID) -> Ticket | None:
    """Return the rights of *token*, or None if it is forged, expired or for another job."""
    claims = _claims(token, job_id, _SALT)
    return None if claims is None else Ticket(claims["result"])


def read_approval(token: str, job_id: UUID) -> ApprovalTicket | None:
    """Return what *token* allows, or None if it is forged, expired or for another job."""
    claims = _claims(token, job_id, _APPROVAL_SALT)
    return None if claims is None else ApprovalTicket(claims["key"], claims["by"], claims["number"])


def _claims(token: str, job_id: UUID, salt: str) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = signing.loads(token, salt=salt)
    except signing.BadSignature:
        return None
    if claims["id"] != job_id.hex or claims["until"] < time.time():
        return None
    return claims
