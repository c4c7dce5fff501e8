from django.db import models


class Lease(models.Model):
    """The process that does a chore for the whole cluster, and until when."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.UUIDField(null=True)
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
