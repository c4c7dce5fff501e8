"""Signed links that activate an account; nothing is stored for them."""

import datetime

from django.conf import settings
from django.core import signing
from django.urls import reverse

LIFETIME = datetime.timedelta(days=3)
_SALT = "testproject.accounts.activation"


def link_for(registration_id: int) -> str:
    token = signing.dumps(registration_id, salt=_SALT)
    return settings.SITE_URL + reverse("activate", args=[token])


def registration_of(token: str) -> int | None:
    """Return the id that *token* was made for, or None if it is forged or expired."""
    try:
        return signing.loads(token, salt=_SALT, max_age=LIFETIME)
    except signing.BadSignature:
        return None
