from django.db import models
from django.utils.translation import gettext_lazy as _

from .job import Job


class Edge(models.Model):
    """A job (``child``) that depends on another one (``parent``)."""

    class Kind(models.TextChoices):
        RESULT = "result", _("runs after a success")
        COMPLETE = "complete", _("runs after any end")

    parent = models.ForeignKey(
        Job,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,  # the constraint's index begins with it
        related_name="edges_out",
    )
    child = models.ForeignKey(
        Job, on_delete=models.CASCADE, db_constraint=False, related_name="edges_in"
    )
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.RESULT)
    # Where the parent's result stands in what the child takes; negative: nowhere.
    position = models.IntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["parent", "child", "kind", "position"], name="django_jobs_edge_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.parent_id} -> {self.child_id}"
