from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import JSONTextField


class Limit(models.Model):
    """A rate or a number of places that all workers share, by key."""

    key = models.CharField(_("key"), max_length=200, primary_key=True)
    places = models.IntegerField(_("places"), null=True)
    used = models.IntegerField(_("used"), default=0)
    windows = JSONTextField(_("rates"), null=True)
    # The next free slot of each window.
    slots = JSONTextField(null=True)

    class Meta:
        verbose_name = _("limit")
        verbose_name_plural = _("limits")

    def __str__(self) -> str:
        return self.key


class UniqueKey(models.Model):
    """Which job holds a unique key.

    The key is taken while that job is live, and until ``until`` when it succeeded: nothing has to
    release it, so nothing can forget to.
    """

    key = models.CharField(max_length=64, primary_key=True)
    job_id = models.UUIDField()
    until = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
