"""The times of a crontab, by the rules of vixie cron, in any time zone.

croniter parses the fields and counts local times without a zone; how those meet the clock is
decided here, and only here. Three habits of croniter are worked around:

* With a zone it fires ``30 1 * * *`` twice on the day when 1:30 comes twice, and ``*/15 * * * *``
  not at all in one of the two hours. So it never sees a zone.
* Its rule for days differs from cron's: ``0 0 1 * 0-6`` is the first of the month for it (a full
  range counts as ``*``), ``0 0 13 * 5#2`` asks for both, and ``0 0 */2 * 1`` for either. So the
  two fields for days are given to it apart where cron takes either, and together where both.
* It takes the range ``4-4`` for all 24 hours, once around the clock. So it is given ``4``.
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
    """A parsed expression; raises ``ValueError`` for one that is wrong or has no time at all."""

    def __init__(self, expression: str) -> None:
        self.fields = fields = _split(expression)
        #: cron calls it a wildcard job: one that begins its minute or its hour with ``*``. It
        #: follows the clock on the wall in real time; any other is meant for fixed times.
        self.wildcard = "*" in (fields[0][0], fields[1][0])
        minute, hour, day, month, weekday = fields
        if day[0] in "*?" or weekday[0] in "*?":
            self._parts = [_parsed(expression, fields)]
        else:
            self._parts = [
                _parsed(expression, [minute, hour, day, month, "*"]),
                _parsed(expression, [minute, hour, "*", month, weekday]),
            ]
        if self.next_local(datetime.datetime(2024, 1, 1)) is None:  # noqa: DTZ001
            raise ValueError(f"crontab {expression!r} has no time: no month has such a day.")

    def next_local(self, local: datetime.datetime) -> datetime.datetime | None:
        """Return the first matching local time after *local*, as if no clock were ever changed."""
        found = []
        for part in self._parts:
            try:
                # A copy: croniter keeps its place in the object, and threads share this one.
                found.append(copy.copy(part).get_next(datetime.datetime, start_time=local))
            except (CroniterBadDateError, OverflowError):
                continue
        return min(found, default=None)


@functools.lru_cache(maxsize=4096)
def parse(expression: str) -> Crontab:
    """Return the parsed *expression*; raise ``ValueError`` that says what is wrong with it."""
    return Crontab(expression)


def next_after(
    expression: str, zone: datetime.tzinfo, after: datetime.datetime
) -> datetime.datetime | None:
    """Return the first tick after *after*, in UTC; both are aware. None when none ever comes.

    Raises ``ValueError`` for a wrong expression. What happens when the clocks change:

    * 2:30 does not exist (the clock goes from 2:00 to 3:00): a fixed job of 2:30 runs once, at
      3:00, together with any other of its times there; a wildcard job has no tick in the gap.
    * 1:30 comes twice (from 2:00 back to 1:00): a fixed job runs the first time only; a wildcard
      job (``*/15``, hourly) runs both times, so no pause of an hour comes into it.
    """
    crontab = parse(expression)
    # Every offset since 1972 is of whole minutes, so a tick is a whole minute in UTC too.
    start = after.astimezone(datetime.UTC).replace(second=0, microsecond=0)
    if crontab.wildcard:
        return _next_wildcard(crontab, zone, start)
    return _next_fixed(crontab, zone, start)


def _next_fixed(
    crontab: Crontab, zone: datetime.tzinfo, after: datetime.datetime
) -> datetime.datetime | None:
    local: datetime.datetime | None = _local(after, zone)
    # What stands later on the wall is never earlier in time when only first occurrences count, so
    # the first that lies ahead is the next; those of an hour that is repeated now lie behind.
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
        # The clock was changed before that: look again from there, the moment itself included.
        start, local = change, _local(change, zone) - _MINUTE
    return None


def _first_moment(local: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """Return when the clock first shows *local*; for a time in a gap the gap's end."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC)
    if _local(moment, zone) == local:
        return moment
    # PEP 495: in a gap the two folds are read with the offsets on either side of it.
    before = local.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC)
    return _first_change(zone, before, moment) or moment


def _first_change(
    zone: datetime.tzinfo, start: datetime.datetime, end: datetime.datetime
) -> datetime.datetime | None:
    """Return the first moment in (start, end] with another offset than *start* has, if any.

    No zone changes its clock twice in a day, so looking once a day misses nothing.
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


def _split(expression: str) -> list[str]:
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


def _short(field: str) -> str:
    """Return a field whose days and months may be written out with their short names."""
    return re.sub("[a-z]+", lambda name: name[0][:3] if name[0] in _LONG else name[0], field)


def _narrowed(part: str) -> str:
    """Return a range from a number to itself as that number."""
    first, dash, last = part.partition("/")[0].partition("-")
    return first if dash and _value(first) == _value(last) else part


def _value(text: str) -> str:
    return str(M_ALPHAS.get(text, DOW_ALPHAS.get(text, text)))


def _parsed(expression: str, fields: list[str]) -> Any:
    for name, field in zip(_FIELDS, fields, strict=True):
        # croniter's own: a hash of a name it is not given, and a random number at each start.
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
    """Return which field croniter refuses when it stands alone."""
    for position, name in enumerate(_FIELDS):
        alone = ["*"] * len(_FIELDS)
        alone[position] = fields[position]
        if not croniter.is_valid(" ".join(alone)):
            return f"{name} {fields[position]!r}"
    return "the fields do not fit each other"
