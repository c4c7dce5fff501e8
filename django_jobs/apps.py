"""Django's entry point; connects signals when the app is ready."""

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_migrate, post_save
from django.utils.translation import gettext_lazy as _


class DjangoJobsConfig(AppConfig):
    name = "django_jobs"
    label = "django_jobs"
    verbose_name = _("Background jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  (registers the system checks)
        from .beat import hooks
        from .db import reconnect
        from .define.registry import autodiscover
        from .models import Schedule

        reconnect.watch_connections()
        autodiscover()
        post_migrate.connect(hooks.migrated, sender=self)
        post_save.connect(hooks.changed, sender=Schedule)
        post_delete.connect(hooks.changed, sender=Schedule)
