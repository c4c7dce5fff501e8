from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import JSONTextField


class Command(models.Model):
    """A command for one worker, and its answer. ``control.commands`` writes it."""

    worker_id = models.UUIDField()
    name = models.CharField(_("command"), max_length=30)
    arguments = JSONTextField(_("arguments"), default=dict)
    created_at = models.DateTimeField(_("created"))
    created_by = models.CharField(_("by"), max_length=150, default="")
    done_at = models.DateTimeField(_("done"), null=True)
    answer = JSONTextField(_("answer"), null=True)

    class Meta:
        verbose_name = _("command")
        verbose_name_plural = _("commands")
        default_permissions = ("view",)
        # Each worker looks for its own open commands, once a second while it runs a job.
        indexes = [
            models.Index(fields=["done_at", "worker_id", "id"], name="django_jobs_command_open")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.pk}"
