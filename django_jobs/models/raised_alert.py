from __future__ import annotations

from django.db import models

from .fields import JSONTextField


class RaisedAlert(models.Model):
    """An alert that lasts, and who was told of it."""

    key = models.CharField(max_length=200, primary_key=True)
    text = models.TextField()
    severity = models.CharField(max_length=10)
    since = models.DateTimeField()
    # The names of the channels that were told, and are told once it is over.
    told = JSONTextField(default=list)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
