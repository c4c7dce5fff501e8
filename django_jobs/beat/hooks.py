"""Receivers of Django's signals; ``apps.py`` connects them."""

from __future__ import annotations

from typing import Any

from django.apps import apps as installed_apps

from ..conf import get_settings
from ..control import schedules
from ..models import Schedule
from .sync import synchronize


def migrated(*, using: str, apps: Any = installed_apps, **_: Any) -> None:
    """Write the schedules of the code if the table has all columns that this code knows."""
    if using != get_settings().database:
        return
    try:
        migrated_to = apps.get_model(Schedule._meta.app_label, Schedule._meta.model_name)
    except LookupError:  # migrated to zero
        return
    columns = {field.column for field in migrated_to._meta.concrete_fields}
    if columns.issuperset(field.column for field in Schedule._meta.concrete_fields):
        synchronize(using)


def changed(*, using: str, **_: Any) -> None:
    """Wake the beats when a schedule was saved or deleted."""
    schedules.changed(using)
