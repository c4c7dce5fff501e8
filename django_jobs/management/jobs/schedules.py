"""``jobs schedules`` and ``jobs import-celery-beat``."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, OutputWrapper
from django.db import transaction
from django.utils.translation import gettext as _

from ...control.schedules import changed
from ...define.sensitive import shown_schedule
from ...display import json_rows
from ...display.schedule_text import description
from ...display.times import relative
from ...models import Schedule
from ...schedules.planning import plan
from ..width import padded, width
from .celery_beat import converted
from .output import one_line, write_json, write_table

_TITLES = ("NAME", "JOB", "WHEN", "STATE", "NEXT", "LAST", "RUNS", "SKIPPED", "ERROR")
_ERROR_WIDTH = 60


def list_schedules(out: OutputWrapper, *, using: str, as_json: bool) -> None:
    """Print all schedules, ordered by name, without their arguments."""
    rows = list(Schedule.objects.using(using).order_by("name"))
    if as_json:
        write_json(out, [json_rows.schedule(row) for row in rows])
    elif rows:
        write_table(out, _TITLES, [_cells(row) for row in rows])
    else:
        out.write(_("No schedules."))


def import_celery_beat(out: OutputWrapper, *, using: str, as_json: bool, dry_run: bool) -> None:
    """Copy django-celery-beat's periodic tasks, except those whose names exist already."""
    try:
        tasks: Any = apps.get_app_config("django_celery_beat").get_model("PeriodicTask")
    except LookupError:
        raise CommandError(
            "django_celery_beat is not in INSTALLED_APPS. Add it for the import, in addition "
            "to django_jobs."
        ) from None
    related = tasks.objects.select_related("interval", "crontab", "solar", "clocked")
    known = set(Schedule.objects.using(using).values_list("name", flat=True))
    made: list[str] = []
    left: dict[str, str] = {}
    notes: dict[str, str] = {}
    with transaction.atomic(using):
        for task in related.order_by("name"):
            schedule, reason, note = converted(task, using)
            if task.name in known:
                left[task.name] = "a schedule with this name exists"
            elif schedule is None:
                left[task.name] = reason
            else:
                made.append(task.name)
                if note:
                    notes[task.name] = note
                if not dry_run:
                    schedule.save(using=using)
        changed(using)
    if not dry_run:
        plan(using)
    if as_json:
        write_json(out, {"imported": made, "left_out": left, "notes": notes, "dry_run": dry_run})
    else:
        _report(out, made, left, notes, dry_run)


def _report(
    out: OutputWrapper,
    made: list[str],
    left: dict[str, str],
    notes: dict[str, str],
    dry_run: bool,
) -> None:
    numbers = {"made": len(made), "left": len(left)}
    if dry_run:
        out.write(_("%(made)d would be imported, %(left)d left out") % numbers)
    else:
        out.write(_("%(made)d imported, %(left)d left out") % numbers)
    titles = _("note"), _("left out")
    room = max(map(width, titles))
    for title, texts in zip(titles, (notes, left), strict=True):
        for name, text in texts.items():
            out.write(f"  {padded(title, room)}  {one_line(name)}: {one_line(text)}")


def _error(row: Schedule) -> str:
    return shown_schedule(row).text(row.last_error)


def _cells(row: Schedule) -> list[Any]:
    state = _("enabled") if row.enabled else _("disabled")
    if row.source != Schedule.Source.ADMIN:
        state += f", {row.get_source_display()}"
    error = _error(row)
    return [
        row.name, row.job_name, description(row), state,
        relative(row.next_run_at) if row.enabled else "", relative(row.last_run_at),
        row.run_count, row.skipped_count,
        error if len(error) <= _ERROR_WIDTH else f"{error[: _ERROR_WIDTH - 1]}…",
    ]  # fmt: skip
