from django.db import models


class Item(models.Model):
    """The row that job bodies with the ORM read and change."""

    value = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.pk}: {self.value}"
