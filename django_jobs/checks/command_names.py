"""A check for other apps' commands that hide ``runworker`` or ``runbeat``."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.management import get_commands


@checks.register("django_jobs")
def check_command_names(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn when another app's command of the same name wins."""
    found = get_commands()
    return [
        checks.Warning(
            f"`manage.py {name}` is the command of {found[name]}, not of django_jobs.",
            hint=f"Start `manage.py jobs {alias}` instead, or put 'django_jobs' before "
            f"{str(found[name]).rpartition('.')[2]!r} in INSTALLED_APPS: the first one wins.",
            id="django_jobs.W004",
        )
        for name, alias in (("runworker", "worker"), ("runbeat", "beat"))
        if found.get(name, "django_jobs") != "django_jobs"
    ]
