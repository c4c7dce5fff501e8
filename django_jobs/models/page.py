"""Pages of the admin that show no table of their own: models, so that they have permissions."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Dashboard(models.Model):
    """The page that tells how things stand."""

    class Meta:
        managed = False
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self._meta.verbose_name)


class Function(models.Model):
    """The page of the registered job functions."""

    class Meta:
        managed = False
        verbose_name = _("job function")
        verbose_name_plural = _("job functions")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
