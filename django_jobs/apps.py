"""Django's entry point; connects signals when the app is ready."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
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
        _load_task_backend()
        post_migrate.connect(hooks.migrated, sender=self)
        post_save.connect(hooks.changed, sender=Schedule)
        post_delete.connect(hooks.changed, sender=Schedule)


def _load_task_backend() -> None:
    """Load the backend of ``django.tasks`` if the project has it.

    A worker may have to run tasks that were defined for another backend.
    """
    name = f"{__package__}.contrib.django_tasks"
    aliases = getattr(settings, "TASKS", None) or {}
    if any(str(alias.get("BACKEND")).startswith(name) for alias in aliases.values()):
        import_module(name)
