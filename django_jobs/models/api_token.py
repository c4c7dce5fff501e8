from __future__ import annotations

from django.db import models

from ..db import clock
from .fields import JSONTextField


class ApiToken(models.Model):
    """A token with which a program uses the pages of the admin as one user.

    The user may be in another database, so there is no foreign key.
    """

    #: SHA-256 of the token, in hex digits. Tokens are random, so a salt would add nothing.
    digest = models.CharField(max_length=64, unique=True)
    #: The user's primary key, as text.
    user_key = models.CharField(max_length=255)
    username = models.CharField(max_length=255)
    #: The program that uses it, as text for people.
    name = models.CharField(max_length=100)
    #: The permissions that it is narrowed to, with their apps' labels; none: all of its user's.
    permissions = JSONTextField(default=list)
    created_by = models.CharField(max_length=200, default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.username})"

    @classmethod
    def valid(cls, using: str) -> models.QuerySet[ApiToken]:
        """Return the tokens that have not expired, by the database's clock."""
        unexpired = models.Q(expires_at=None) | models.Q(expires_at__gt=clock(using))
        return cls.objects.using(using).filter(unexpired)
