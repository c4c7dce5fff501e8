"""Writes the schedules of the code to rows, and keeps operators' changes.

The schedules of the code are those of ``@job(schedule=...)``, ``DJANGO_JOBS["SCHEDULES"]`` and
``add_periodic_task()``.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import Q

from .. import log
from ..conf import get_settings
from ..control.schedules import changed
from ..db.chunks import CHUNK, pieces_of
from ..define import registry
from ..define.option_problems import unknown_options
from ..define.schedule_spec import Timing, periodic_tasks, timing
from ..models import Schedule
from ..moments import aware
from ..schedules.planning import plan
from ..schedules.validation import problems

Source = Schedule.Source

#: The keys of an entry besides ``job`` (or Celery's ``task``) and ``schedule``.
OPTIONS = (
    "args", "kwargs", "timezone", "description", "enabled", "one_off", "starts_at", "ends_at",
    "jitter_seconds", "missed", "missed_limit", "deadline_seconds", "overlap", "queue", "priority",
    "expires_seconds", "headers",
)  # fmt: skip
# Celery's names, in an entry or in its "options".
_ALIASES = {"expires": "expires_seconds"}
_TIMING = tuple(Timing.__dataclass_fields__)


def schedules(using: str = "") -> tuple[list[Schedule], list[str]]:
    """Return the schedules of the code as unsaved rows, and the problems of invalid entries.

    Each problem is a sentence that names its entry; the system checks show them. *using* is the
    database for the rows, by default the setting ``DATABASE``.
    """
    found: dict[str, Schedule] = {}
    wrong: list[str] = []
    for where, name, entry in _entries():
        try:
            schedule = _schedule(name, entry)
        except (ValueError, TypeError) as error:
            wrong.append(f"{where}: {error}")
            continue
        texts = [text for texts in problems(schedule, using).values() for text in texts]
        if name in found:
            texts.append("another schedule in code has this name. Rename one of them.")
        if texts:
            wrong += [f"{where}: {text}" for text in texts]
        else:
            found[name] = schedule
    return list(found.values()), wrong


def synchronize(using: str) -> None:
    """Write the schedules of the code to rows, in one transaction.

    A row that an operator changed keeps the change. The row of a schedule that the code no longer
    has is disabled, not deleted. Invalid entries are logged and skipped.
    """
    wanted, wrong = schedules(using)
    for problem in wrong:
        log.schedule_left_out(problem)
    rows = Schedule.objects.using(using)
    known = {Source.CODE, Source.CHANGED, Source.GONE}
    if not wanted and not rows.filter(source__in=known - {Source.GONE}).exists():
        return
    with transaction.atomic(using):
        names = [schedule.name for schedule in wanted]
        ours = Q(name__in=names) | Q(source__in=known - {Source.GONE})
        locked = list(rows.select_for_update().filter(ours).order_by("pk"))
        there = {row.name: row for row in locked if row.name in set(names)}
        new = [schedule for schedule in wanted if schedule.name not in there]
        # Another beat may insert the same rows at the same time.
        lengths = (len(str(row.args)) + len(str(row.kwargs)) for row in new)
        for piece in pieces_of(new, lengths, CHUNK):
            rows.bulk_create(piece, ignore_conflicts=True)
        for schedule in wanted:
            if schedule.name in there:
                _update(there[schedule.name], schedule, using)
        for row in locked:
            if row.name in there:
                continue
            row.enabled, row.source = False, Source.GONE
            row.save(using=using)
        changed(using)
    plan(using)


def _update(row: Schedule, wanted: Schedule, using: str) -> None:
    if row.code_digest == wanted.code_digest and row.source != Source.GONE:
        return
    row.code_digest = wanted.code_digest
    if row.source == Source.ADMIN:
        # An operator made a schedule with this name, or took it over after it left the code.
        row.source = Source.CHANGED
    elif row.source in (Source.CODE, Source.GONE):
        row.source = Source.CODE
        for name in (*OPTIONS, *_TIMING, "job_name"):
            setattr(row, name, getattr(wanted, name))
    row.save(using=using)


def _entries() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for function in registry.every():
        spelled = function.options.schedule
        if spelled is not None:
            options = spelled if isinstance(spelled, Mapping) else {"schedule": spelled}
            yield f"@job {function.name}", function.name, {**options, "job": function.name}
    for name, entry in get_settings().schedules.items():
        yield f"DJANGO_JOBS['SCHEDULES'][{name!r}]", name, entry
    for task in periodic_tasks:
        yield f"add_periodic_task(name={task.name!r})", task.name, task.entry


def _schedule(name: Any, entry: Any) -> Schedule:
    if not isinstance(entry, Mapping):
        raise ValueError(
            f"An entry must be a dict with 'job' and 'schedule', got a {type(entry).__name__}."
        )
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise ValueError(f"name must be a text of 1 to 200 characters, got {name!r}.")
    given = {**entry, **(entry.get("options") or {})}
    given.pop("options", None)
    job = given.pop("job", None) or given.pop("task", None)
    given.pop("task", None)
    when = timing(given.pop("schedule", None))
    for alias, column in _ALIASES.items():
        if alias in given:
            given[column] = given.pop(alias)
    if unknown := unknown_options(given, ("job", "schedule", "options", *OPTIONS)):
        raise ValueError(unknown)
    values = {column: getattr(when, column) for column in _TIMING}
    values["timezone"] = (
        given.pop("timezone", "") or values["timezone"] or django_settings.TIME_ZONE or "UTC"
    )
    values |= {column: _plain(column, value) for column, value in given.items()}
    if values["clocked_at"] is not None:
        values["clocked_at"] = aware(values["clocked_at"], "schedule")
    job_name = str(getattr(job, "name", job))
    function = registry.find(job_name)
    if function is not None and (types := function.argument_types) is not None:
        args, kwargs = types.encode(values.get("args", []), values.get("kwargs", {}))
        values |= {"args": args, "kwargs": kwargs}
    schedule = Schedule(name=name, job_name=job_name, source=Source.CODE, **values)
    schedule.code_digest = _digest({**values, "job": schedule.job_name})
    return schedule


def _plain(column: str, value: Any) -> Any:
    if column.endswith("_seconds") and isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if column in ("starts_at", "ends_at") and value is not None:
        return aware(value, column)
    if column == "args":
        if not isinstance(value, (list, tuple, type(None))):
            raise ValueError(f"args must be a list of arguments, got a {type(value).__name__}.")
        return list(value or ())
    if column == "kwargs":
        if not isinstance(value, (Mapping, type(None))):
            raise ValueError(f"kwargs must be a dict of arguments, got a {type(value).__name__}.")
        return dict(value or {})
    return value


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, cls=DjangoJSONEncoder, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
