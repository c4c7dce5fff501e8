from django.db import models


class Item(models.Model):
    """What job bodies that use the ORM read and change."""

    value = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.pk}: {self.value}"
