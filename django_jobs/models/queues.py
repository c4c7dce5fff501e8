from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from .limit import validate_rate


class Queue(models.Model):
    """The settings that an operator made for a queue. A queue works without a row."""

    name = models.CharField(_("name"), max_length=100, primary_key=True)
    paused_at = models.DateTimeField(_("paused since"), null=True, blank=True)
    paused_by = models.CharField(_("paused by"), max_length=150, default="", blank=True)
    concurrency = models.PositiveIntegerField(
        _("most running jobs"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    rate_limit = models.CharField(
        _("rate limit"), max_length=100, default="", blank=True, validators=[validate_rate]
    )
    target_seconds = models.FloatField(_("longest wait wanted"), null=True, blank=True)

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        permissions = [("pause_queue", _("Can pause and resume queues"))]

    def __str__(self) -> str:
        return self.name
