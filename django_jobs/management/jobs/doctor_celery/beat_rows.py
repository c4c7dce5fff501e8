"""The rows of django-celery-beat: ``jobs import-celery-beat`` copies them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import DatabaseError

from ....models import Schedule
from ..celery_beat import converted
from .finding import BEAT, REMOVE, Finding, Place, Section


def findings(using: str) -> Iterator[Finding]:
    """Yield the periodic tasks that have no schedule yet; the line is the row's id."""
    if not apps.is_installed("django_celery_beat"):
        return
    tasks: Any = apps.get_app_config("django_celery_beat").get_model("PeriodicTask")
    place = Place(tasks._meta.db_table)
    related = tasks.objects.select_related("interval", "crontab", "solar", "clocked")
    try:
        known = set(Schedule.objects.using(using).values_list("name", flat=True))
        rows = list(related.order_by("pk"))
    except DatabaseError as error:
        text = "Run this command again where the database can be read."
        what = f"The table cannot be read ({type(error).__name__})"
        yield place.finding(0, what, text, BEAT, Section.STEPS)
        return
    for task in rows:
        if task.name in known:
            continue
        schedule, reason, note = converted(task, using)
        text = "manage.py jobs import-celery-beat copies it, after Celery's beat has stopped."
        if schedule is None:
            text = f"It would be left out: {reason.strip()}"
        elif note:
            text = f"{text} {note}"
        step = REMOVE if task.task.startswith("celery.") else BEAT
        what = f"row {task.name!r} of {task.task}"
        yield place.finding(task.pk, what, text, step, Section.STEPS)
