from __future__ import annotations

from django.db import models


class Mark(models.Model):
    """A moment with a name, such as a deploy: a vertical line in the charts of the admin."""

    # Unix time, as in a measurement.
    at = models.BigIntegerField(db_index=True)
    name = models.CharField(max_length=100)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
