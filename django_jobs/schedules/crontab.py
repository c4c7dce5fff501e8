"""The times of a crontab, by the rules of vixie cron, in any time zone.

croniter parses the fields and computes local times without a zone; this module converts them to
moments. It works around three properties of croniter:

* With a zone, croniter fires ``30 1 * * *`` twice on the day when 1:30 occurs twice, and skips
  ``*/15 * * * *`` in one of the two hours. So croniter never gets a zone.
* Its rule for days differs from cron's: ``0 0 1 * 0-6`` means the first of the month (a full range
  counts as ``*``), ``0 0 13 * 5#2`` requires both days, and ``0 0 */2 * 1`` either. So croniter
  gets the two fields for days separately where cron requires either, else together.
* It reads the range ``4-4`` as all 24 hours. So croniter gets ``4``.
"""

from __future__ import annotations

import copy
import datetime
import functools
import re
from typing import Any

from croniter import croniter
from croniter.croniter import (
    DOW_ALPHAS,
    M_ALPHAS,
    CroniterBadCronError,
    CroniterBadDateError,
    CroniterError,
)

from ..suggest import did_you_mean

_MINUTE = datetime.timedelta(minutes=1)
_DAY = datetime.timedelta(days=1)
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONG = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
    "january", "february", "march", "april", "june", "july", "august", "september", "october",
    "november", "december",
)  # fmt: skip
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")


class Crontab:
    """A parsed expression; raises ``ValueError`` if it is invalid or never matches a time."""

    def __init__(self, expression: str) -> None:
        self.fields = fields = fields_of(expression)
        self.wildcard = is_wildcard(fields)
        minute, hour, day, month, weekday = fields
        if day[0] in "*?" or weekday[0] in "*?":
            self._parts = [_parsed(expression, fields)]
        else:
            self._parts = [
                _parsed(expression, [minute, hour, day, month, "*"]),
                _parsed(expression, [minute, hour, "*", month, weekday]),
            ]
        if self.next_local(datetime.datetime(2024, 1, 1)) is None:  # noqa: DTZ001
            raise ValueError(f"crontab {expression!r} never runs: no month has such a day.")

    def next_local(self, local: datetime.datetime) -> datetime.datetime | None:
        """Return the first matching local time after *local*, without regard to clock changes."""
        found = []
        for part in self._parts:
            try:
                # A copy: croniter changes its object, and threads share this one.
                found.append(copy.copy(part).get_next(datetime.datetime, start_time=local))
            except (CroniterBadDateError, OverflowError):
                continue
        return min(found, default=None)


@functools.lru_cache(maxsize=4096)
def parse(expression: str) -> Crontab:
    """Return the parsed *expression*; raise ``ValueError`` if it is invalid."""
    return Crontab(expression)


def fields_of(expression: str) -> list[str]:
    """Return the five fields of *expression*, with its alias and its names made short."""
    text = _ALIASES.get(expression.strip().lower(), expression)
    fields = text.lower().split()
    if text.strip().startswith("@"):
        raise ValueError(
            f"crontab {expression!r} is unknown. Use five fields, or one of {', '.join(_ALIASES)}."
            f"{did_you_mean(text.strip(), _ALIASES)}"
        )
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"crontab must have five fields ({', '.join(_FIELDS)}), got {len(fields)} in "
            f"{expression!r}."
        )
    fields[3:] = map(_short, fields[3:])
    return [",".join(map(_narrowed, field.split(","))) for field in fields]


def is_wildcard(fields: list[str]) -> bool:
    """Say whether the minute or the hour begins with ``*``, which cron calls a wildcard job.

    Such a job runs at regular intervals; any other runs at fixed local times.
    """
    return "*" in (fields[0][0], fields[1][0])


def next_after(
    expression: str, zone: datetime.tzinfo, after: datetime.datetime
) -> datetime.datetime | None:
    """Return the first tick after *after*, in UTC, or None if there is none; both are aware.

    Raises ``ValueError`` for an invalid expression. When the clocks change:

    * 2:30 does not exist (2:00 becomes 3:00): a fixed job at 2:30 runs once, at 3:00, together with
      its other times in the gap; a wildcard job has no tick in the gap.
    * 1:30 occurs twice (2:00 becomes 1:00): a fixed job runs the first time only; a wildcard job
      (``*/15``, hourly) runs both times, so it never pauses for an hour.
    """
    crontab = parse(expression)
    # All offsets since 1972 are whole minutes, so a tick is a whole minute in UTC too.
    start = after.astimezone(datetime.UTC).replace(second=0, microsecond=0)
    if crontab.wildcard:
        return _next_wildcard(crontab, zone, start)
    return _next_fixed(crontab, zone, start)


def _next_fixed(
    crontab: Crontab, zone: datetime.tzinfo, after: datetime.datetime
) -> datetime.datetime | None:
    local: datetime.datetime | None = _local(after, zone)
    # First occurrences have the order of their local times, so the first one after *after* is the
    # next tick. In a repeated hour, the first occurrences are already in the past.
    while local is not None:
        local = crontab.next_local(local)
        if local is not None and (moment := _first_moment(local, zone)) > after:
            return moment
    return None


def _next_wildcard(
    crontab: Crontab, zone: datetime.tzinfo, after: datetime.datetime
) -> datetime.datetime | None:
    start, local = after, _local(after, zone)
    while (match := crontab.next_local(local)) is not None:
        moment = (match - _offset(start, zone)).replace(tzinfo=datetime.UTC)
        change = _first_change(zone, start, moment)
        if change is None:
            return moment
        # The clock changes before that moment: search again from the change, inclusive.
        start, local = change, _local(change, zone) - _MINUTE
    return None


def _first_moment(local: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """Return the first moment with the local time *local*; in a gap, the end of the gap."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC)
    if _local(moment, zone) == local:
        return moment
    # PEP 495: in a gap, the two folds use the offsets before and after it.
    before = local.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC)
    return _first_change(zone, before, moment) or moment


def _first_change(
    zone: datetime.tzinfo, start: datetime.datetime, end: datetime.datetime
) -> datetime.datetime | None:
    """Return the first moment in (start, end] whose offset differs from that of *start*, or None.

    No zone changes its clock twice within a day, so testing once a day is enough.
    """
    known, low = _offset(start, zone), start
    while low < end:
        high = min(low + _DAY, end)
        if _offset(high, zone) != known:
            while high - low > _MINUTE:
                middle = low + (high - low) // (2 * _MINUTE) * _MINUTE
                low, high = (middle, high) if _offset(middle, zone) == known else (low, middle)
            return high
        low = high
    return None


def _offset(moment: datetime.datetime, zone: datetime.tzinfo) -> datetime.timedelta:
    return moment.astimezone(zone).utcoffset() or datetime.timedelta(0)


def _local(moment: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _short(field: str) -> str:
    """Replace full names of days and months in a field by their short names."""
    return re.sub("[a-z]+", lambda name: name[0][:3] if name[0] in _LONG else name[0], field)


def _narrowed(part: str) -> str:
    """Replace a range from a number to itself by the number."""
    first, dash, last = part.partition("/")[0].partition("-")
    return first if first and dash and _value(first) == _value(last) else part


def _value(text: str) -> str:
    return str(M_ALPHAS.get(text, DOW_ALPHAS.get(text, text)))


def _parsed(expression: str, fields: list[str]) -> Any:
    for name, field in zip(_FIELDS, fields, strict=True):
        # croniter's extensions: a hash of a name, and a random number at each start.
        if field[0] in "hr" or "w" in field.replace("wed", ""):
            raise ValueError(
                f"crontab {expression!r}: {name} {field!r} is not supported. Use "
                "numbers, names, *, ranges, steps and lists."
            )
    try:
        return croniter(
            " ".join(fields),
            datetime.datetime(2024, 1, 1),  # noqa: DTZ001
            day_or=False,
            max_years_between_matches=50,
        )
    except (CroniterBadCronError, CroniterError, TypeError, KeyError) as error:
        name = _wrong_field(fields)
        raise ValueError(f"crontab {expression!r}: {name}: {error}.") from None


def _wrong_field(fields: list[str]) -> str:
    """Return the field that croniter refuses even alone."""
    for position, name in enumerate(_FIELDS):
        alone = ["*"] * len(_FIELDS)
        alone[position] = fields[position]
        if not croniter.is_valid(" ".join(alone)):
            return f"{name} {fields[position]!r}"
    return "the fields do not fit each other"
