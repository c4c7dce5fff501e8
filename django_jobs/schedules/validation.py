"""Validates schedules before beat fires them: for forms, code and imports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import serialization
from ..conf import get_settings
from ..define import registry
from ..define.conversion import refuse_misfits
from ..define.option_problems import priority_problems, queue_problems
from ..define.routing import misplaced
from ..exceptions import ArgumentError
from ..models import Schedule
from ..moments import FIRST_YEAR, LAST_YEAR
from . import crontab, solar_events
from .rows import row_of
from .ticks import Kind, utc, zone_of

_LONGEST_CRONTAB = 1_000

#: The columns that define the times, per kind; those of the other kinds are empty.
COLUMNS: dict[str, tuple[str, ...]] = {
    Kind.INTERVAL: ("interval_seconds",),
    Kind.CRONTAB: ("crontab",),
    Kind.CLOCKED: ("clocked_at",),
    Kind.SOLAR: ("solar_event", "latitude", "longitude"),
}


def problems(schedule: Schedule, using: str = "") -> Mapping[str, list[str]]:
    """Return the problems of a schedule by the names of columns; empty if it is valid.

    *using* is the database of its row, by default the setting ``DATABASE``.
    """
    found: dict[str, list[str]] = {}

    def add(column: str, *texts: str) -> None:
        if texts:
            found.setdefault(column, []).extend(texts)

    for column, text in _timing_problems(schedule):
        add(column, text)
    for column, text in _argument_problems(schedule):
        add(column, text)
    if schedule.queue:
        add("queue", *queue_problems(schedule.queue))
    if schedule.priority is not None:
        add("priority", *priority_problems(schedule.priority))
    for column in ("jitter_seconds", "deadline_seconds", "expires_seconds"):
        value = getattr(schedule, column)
        if value is not None and not 0 <= value <= 366 * 86_400:
            add(column, f"{column} must be seconds from 0 to a year, got {value}.")
    if not 1 <= schedule.missed_limit <= 1_000:
        add("missed_limit", f"missed_limit must be from 1 to 1000, got {schedule.missed_limit}.")
    for column, kind in (("missed", Schedule.Missed), ("overlap", Schedule.Overlap)):
        if getattr(schedule, column) not in kind.values:
            allowed = ", ".join(kind.values)
            add(column, f"{column} must be one of {allowed}, got {getattr(schedule, column)!r}.")
    for column in ("starts_at", "ends_at", "clocked_at"):
        moment = getattr(schedule, column)
        if moment is not None and not FIRST_YEAR <= moment.year <= LAST_YEAR:
            add(
                column, f"{column} must lie in the years {FIRST_YEAR} to {LAST_YEAR}, got {moment}."
            )
    if not found.keys() & {"starts_at", "ends_at"}:
        start, end = utc(schedule.starts_at), utc(schedule.ends_at)
        if start and end and end <= start:
            add("ends_at", f"ends_at must be later than starts_at ({start}), got {end}.")
    if not found:
        for text in _queue_problems(schedule, using or get_settings().database):
            add("queue", text)
    return found


def _queue_problems(schedule: Schedule, using: str) -> list[str]:
    try:
        queue = row_of(schedule).queue
    except Exception:  # routes and keys are code of the project, which may work at the next tick
        return []
    why = misplaced(queue, using)
    return [why] if why else []


def _timing_problems(schedule: Schedule) -> list[tuple[str, str]]:
    found = []
    try:
        zone_of(schedule)
    except ValueError as error:
        found.append(("timezone", str(error)))
    if schedule.kind == Kind.CRONTAB:
        try:
            if len(schedule.crontab) > _LONGEST_CRONTAB:
                raise ValueError(
                    f"crontab must have at most {_LONGEST_CRONTAB} characters, "
                    f"got {len(schedule.crontab)}."
                )
            crontab.parse(schedule.crontab)
        except ValueError as error:
            found.append(("crontab", str(error)))
    elif schedule.kind == Kind.INTERVAL:
        seconds = schedule.interval_seconds
        if seconds is None or not 0.1 <= seconds <= 10 * 366 * 86_400:
            text = f"The interval must be from 0.1 seconds to ten years, got {seconds}."
            found.append(("interval_seconds", text))
    elif schedule.kind == Kind.CLOCKED:
        if schedule.clocked_at is None:
            found.append(("clocked_at", "clocked_at must be the time of the run, got None."))
    elif schedule.kind == Kind.SOLAR:
        texts = solar_events.problems(schedule.solar_event, schedule.latitude, schedule.longitude)
        found += [(_solar_column(text), text) for text in texts]
    else:
        found.append(
            ("kind", f"kind must be one of {', '.join(Kind.values)}, got {schedule.kind!r}.")
        )
    return found


def _solar_column(text: str) -> str:
    return next(
        (name for name in ("latitude", "longitude") if text.startswith(name)), "solar_event"
    )


def _argument_problems(schedule: Schedule) -> list[tuple[str, str]]:
    limit = get_settings().max_payload_bytes
    found: list[tuple[str, str]] = []
    for column, kind, name in (("args", list, "array"), ("kwargs", dict, "object")):
        value = getattr(schedule, column)
        if not isinstance(value, kind):
            found.append((column, f"{column} must be a JSON {name}, got a {type(value).__name__}."))
    if schedule.headers is not None and not isinstance(schedule.headers, dict):
        found.append(
            ("headers", f"headers must be a JSON object, got a {type(schedule.headers).__name__}.")
        )
    function = registry.find(schedule.job_name)
    if function is None:
        found.append(("job_name", registry.missing(schedule.job_name)))
    elif schedule.job_name in registry.INTERNAL:
        text = f"Only django_jobs enqueues {schedule.job_name}. Choose a job function of your own."
        found.append(("job_name", text))
    if found:
        return found
    args: list[Any] = schedule.args
    kwargs: dict[str, Any] = schedule.kwargs
    try:
        serialization.dumps_arguments(args, kwargs, max_bytes=limit)
    except ValueError as error:
        found.append(("args", str(error)))
    if schedule.headers is not None:
        try:
            serialization.dumps(schedule.headers, where="headers", max_bytes=limit)
        except ValueError as error:
            found.append(("headers", str(error)))
    if function is not None and function.options.typing:
        try:
            function.bind(args, kwargs)
            refuse_misfits(function, args, kwargs)
        except (TypeError, ArgumentError) as error:
            found.append(("args", str(error)))
    return found
