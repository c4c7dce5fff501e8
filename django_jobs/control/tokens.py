"""Tokens with which programs use the pages of the admin: made, found and revoked.

Only the SHA-256 of a token is stored. Whoever reads the table cannot use its tokens.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils.crypto import constant_time_compare
from django.views.decorators.debug import sensitive_variables

from ..conf import get_settings
from ..db import clock
from ..models import ApiToken
from ..suggest import did_you_mean

#: The prefix of every token; scanners of repositories find a leaked token by it.
PREFIX = "djobs_"
_LONGEST_NAME = 100


@sensitive_variables()
def make(
    user: Any,
    name: str,
    *,
    permissions: Collection[str] = (),
    seconds: float | None = None,
    by: str = "",
    using: str = "",
) -> tuple[ApiToken, str]:
    """Make a token of *user*; return its row, and the token, which is not stored.

    It is narrowed to *permissions* if there are some, and is good for *seconds*, or until it is
    revoked. Raises ``ValueError`` for a name that is too long and for a permission that the user
    lacks.
    """
    if not name or len(name) > _LONGEST_NAME:
        raise ValueError(f"A token needs a name of 1 to {_LONGEST_NAME} characters.")
    held = user.get_all_permissions()
    for permission in permissions:
        if permission not in held:
            raise ValueError(
                f"{user.get_username()} does not have the permission {permission!r}. Write it as "
                f"'django_jobs.view_job', and give it to the user first."
                f"{did_you_mean(permission, held)}"
            )
    using = using or get_settings().database
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.using(using).create(
        digest=_digest(token), user_key=str(user.pk), username=user.get_username(), name=name,
        permissions=sorted(permissions), created_by=by[:200], created_at=clock(using),
        expires_at=None if seconds is None else clock(using, seconds),
    )  # fmt: skip
    return row, token


def revoke(number: int, using: str = "") -> bool:
    """Delete a token by its number; return False if there is none."""
    rows = ApiToken.objects.using(using or get_settings().database)
    return bool(rows.filter(pk=number).delete()[0])


@sensitive_variables()
def user_of(token: str, using: str = "") -> Any:
    """Return the active user whose token it is, narrowed to the token's permissions, or None."""
    digest = _digest(token)
    row = ApiToken.valid(using or get_settings().database).filter(digest=digest).first()
    if row is None or not constant_time_compare(row.digest, digest):
        return None
    try:
        user = get_user_model()._default_manager.filter(pk=row.user_key).first()
    except (ValueError, ValidationError):  # the project has another model of users now
        return None
    if user is None or not user.is_active:
        return None
    return _narrowed(user, row.permissions) if row.permissions else user


def _narrowed(user: Any, permissions: Iterable[str]) -> Any:
    """Take all permissions of *user*, an object of this request, but *permissions*."""
    allowed, whole = frozenset(permissions), user.has_perm

    def has_perm(permission: str, obj: Any = None) -> bool:
        return permission in allowed and whole(permission, obj)

    def has_module_perms(label: str) -> bool:
        return any(has_perm(each) for each in allowed if each.startswith(f"{label}."))

    user.has_perm, user.has_module_perms = has_perm, has_module_perms
    return user


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
