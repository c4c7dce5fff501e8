"""Pages of the admin that show no table of their own: models, so that they have permissions."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


class NoRows(models.Manager[Any]):
    """Finds nothing and asks no database, because there is no table; ``dumpdata`` asks it."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().none()


class Page(models.Model):
    """A page of the admin."""

    objects = NoRows()

    class Meta:
        abstract = True
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)

    def __str__(self) -> str:
        # A job function in the admin's log has its name as its key.
        return str(self.pk or self._meta.verbose_name)


class Dashboard(Page):
    """The page that shows the state of jobs, queues and workers."""

    class Meta(Page.Meta):
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")


class Function(Page):
    """The page of the registered job functions."""

    class Meta(Page.Meta):
        verbose_name = _("job function")
        verbose_name_plural = _("job functions")
