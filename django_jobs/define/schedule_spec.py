"""The times of schedules in code.

They are written as in Celery: ``crontab(hour=3, minute=0)``, ``solar("sunrise", 52.5, 13.4)``, a
``timedelta``, a number of seconds. A text is a crontab of five fields, a datetime a single time.
Settings files can import this module.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ..suggest import did_you_mean

#: Events of the sun: Celery's names and three shorter ones.
SOLAR_EVENTS = (
    "dawn_astronomical", "dawn_nautical", "dawn_civil", "dawn", "sunrise", "solar_noon", "noon",
    "sunset", "dusk", "dusk_civil", "dusk_nautical", "dusk_astronomical",
)  # fmt: skip

Field = int | str | Iterable[int | str]


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """The times of a schedule. The fields are the columns of its row.

    ``timezone`` is an IANA name; empty means the setting ``TIME_ZONE``.
    """

    kind: str
    interval_seconds: float | None = None
    crontab: str = ""
    clocked_at: datetime.datetime | None = None
    solar_event: str = ""
    latitude: float | None = None
    longitude: float | None = None
    timezone: str = ""


#: Everything that ``schedule=`` takes.
Spelling: TypeAlias = Timing | float | str | datetime.timedelta | datetime.datetime


def crontab(
    minute: Field = "*",
    hour: Field = "*",
    *,
    day_of_week: Field = "*",
    day_of_month: Field = "*",
    month_of_year: Field = "*",
    timezone: str = "",
) -> Timing:
    """Return the times of a crontab: ``crontab(hour=3, minute=0)`` or ``crontab("0 3 * * *")``.

    A field is a number, a text as in a crontab, or several of them; by default ``*``. So
    ``crontab(hour=3)`` is every minute from 3:00 to 3:59, as in Celery. *timezone* is an IANA name,
    by default the setting ``TIME_ZONE``. Raises ``ValueError`` for fields of other types.
    """
    fields = [
        _field("minute", minute),
        _field("hour", hour),
        _field("day_of_month", day_of_month),
        _field("month_of_year", month_of_year),
        _field("day_of_week", day_of_week),
    ]
    if len(fields[0].split()) > 1 or fields[0].startswith("@"):
        if fields[1:] != ["*"] * 4:
            raise ValueError(
                f"crontab({fields[0]!r}) is a whole crontab already. Leave the other fields out."
            )
        fields = fields[:1]
    return Timing("crontab", crontab=" ".join(fields), timezone=timezone)


def solar(event: str, lat: float, lon: float) -> Timing:
    """Return the times of a solar *event* at a latitude and a longitude, in degrees.

    Raises ``ValueError`` for an event that is not in :data:`SOLAR_EVENTS`. Beat needs the package
    ``astral`` for it (the extra ``solar``).
    """
    if event not in SOLAR_EVENTS:
        raise ValueError(
            f"solar_event must be one of {', '.join(SOLAR_EVENTS)}, got {event!r}."
            f"{did_you_mean(event, SOLAR_EVENTS)}"
        )
    return Timing("solar", solar_event=event, latitude=lat, longitude=lon)


def timing(spelling: Any) -> Timing:
    """Return the :class:`Timing` of *spelling*; raise ``ValueError`` for other types."""
    if isinstance(spelling, Timing):
        return spelling
    if isinstance(spelling, datetime.timedelta):
        return Timing("interval", interval_seconds=spelling.total_seconds())
    if isinstance(spelling, (int, float)) and not isinstance(spelling, bool):
        return Timing("interval", interval_seconds=float(spelling))
    if isinstance(spelling, str):
        return Timing("crontab", crontab=spelling)
    if isinstance(spelling, datetime.datetime):
        return Timing("clocked", clocked_at=spelling)
    raise ValueError(
        "A schedule must be seconds, a timedelta, a crontab (text or crontab(...)), solar(...) or "
        f"a datetime, got {spelling!r}."
    )


@dataclasses.dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A schedule of :func:`add_periodic_task`: an entry as in ``DJANGO_JOBS["SCHEDULES"]``."""

    name: str
    entry: Mapping[str, Any]


#: The schedules of all calls of :func:`add_periodic_task`.
periodic_tasks: list[PeriodicTask] = []


def add_periodic_task(
    schedule: Spelling,
    job: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    **options: Any,
) -> None:
    """Run *job* by *schedule*: ``add_periodic_task(30.0, clean_up, name="clean up")``.

    Call it in an app's ``jobs.py``. *job* is a job function, its name, or a signature
    (``clean_up.s(7)``), whose arguments come after *args*. *name* is the schedule's, by default the
    job function's. The *options* are those of an entry of ``DJANGO_JOBS["SCHEDULES"]``; system
    checks report invalid ones. Raises ``ValueError`` for a workflow.
    """
    signed_args, signed_kwargs, signed_options = _signed(job)
    entry = {
        **signed_options,
        **options,
        "job": getattr(job, "task", None) or getattr(job, "name", job),
        "schedule": schedule,
        # The system check reports args that are not a list.
        "args": [*args, *signed_args] if isinstance(args, (list, tuple)) else args,
        "kwargs": {**signed_kwargs, **(kwargs or {})},
    }
    periodic_tasks.append(PeriodicTask(name or str(entry["job"]), entry))


def _signed(job: Any) -> tuple[Sequence[Any], Mapping[str, Any], Mapping[str, Any]]:
    """Return the arguments and options of a signature; a job function has none."""
    if isinstance(job, Mapping) and not hasattr(job, "task"):
        raise ValueError(
            f"A schedule runs one job function, got {job!r}. Write one that enqueues the workflow."
        )
    args, kwargs = getattr(job, "args", ()), getattr(job, "kwargs", {})
    options = getattr(job, "options", {})
    return (
        args if isinstance(args, (list, tuple)) else (),
        kwargs if isinstance(kwargs, Mapping) else {},
        options if isinstance(options, Mapping) else {},
    )


def _field(name: str, value: Field) -> str:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        text = str(value)
    elif isinstance(value, Iterable):
        text = ",".join(map(str, value))
    else:
        text = ""
    if not text.strip():
        raise ValueError(f"crontab({name}=) must be a number, a text or several, got {value!r}.")
    return text
