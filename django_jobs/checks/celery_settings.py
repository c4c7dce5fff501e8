"""A check for Celery's settings, which have no effect here."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks

from ..from_celery.settings import with_replacement


@checks.register("django_jobs")
def check_celery_settings(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of each of Celery's settings that the project still has and that has a replacement."""
    return [
        checks.Warning(
            f"The setting {name} is Celery's, and django_jobs does not read it.",
            hint=f"{rule.advice} Remove {name} once no Celery worker needs it.",
            id="django_jobs.W005",
        )
        for name, rule in with_replacement()
        if hasattr(settings, name)
    ]
