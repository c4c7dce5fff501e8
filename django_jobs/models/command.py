from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import JSONTextField


class Command(models.Model):
    """What a worker (or, without ``worker_id``, each worker) is told to do, and its answer."""

    worker_id = models.UUIDField(null=True)
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
        indexes = [models.Index(fields=["worker_id", "id"], name="django_jobs_command_worker")]

    def __str__(self) -> str:
        return f"{self.name} {self.pk}"
