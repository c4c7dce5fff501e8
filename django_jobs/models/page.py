"""Pages of the admin that show no table of their own: models, so that they have permissions."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


class NoRows(models.Manager[Any]):
    """Finds nothing and asks no database, because there is no table; ``dumpdata`` asks it."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().none()


class Dashboard(models.Model):
    """The page that shows the state of jobs, queues and workers."""

    objects = NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self._meta.verbose_name)


class Function(models.Model):
    """The page of the registered job functions."""

    objects = NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        verbose_name = _("job function")
        verbose_name_plural = _("job functions")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
