from django.db import models
from django.utils.translation import gettext_lazy as _

from ..status import Status
from .fields import JSONTextField
from .job import Job


class Attempt(models.Model):
    """One attempt that did not succeed. The row of the job itself has its success."""

    job = models.ForeignKey(
        Job, on_delete=models.CASCADE, db_constraint=False, related_name="attempts"
    )
    #: The number that people see: retries + 1.
    attempt = models.IntegerField(_("attempt"))
    #: How often the job had been claimed: no two rows of a job share it.
    claims = models.IntegerField(default=0)
    status = models.CharField(_("next status"), max_length=9, choices=Status.choices)
    worker_id = models.UUIDField(null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    ended_at = models.DateTimeField(_("ended"))
    error_class = models.CharField(_("error"), max_length=255)
    error_message = models.TextField(_("message"))
    error_args = JSONTextField(null=True)
    traceback = models.TextField(_("traceback"))

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ("view",)
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.job_id} #{self.attempt}"
