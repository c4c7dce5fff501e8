"""The times of solar events, computed by ``astral`` (the extra ``solar``)."""

from __future__ import annotations

import datetime
import importlib.util

from ..define.schedule_spec import SOLAR_EVENTS
from ..suggest import did_you_mean

_DAY = datetime.timedelta(days=1)
# Beyond the polar circles, an event may not occur for half a year.
_LONGEST_DAYS = 370
_DEPRESSIONS = {"astronomical": 18.0, "nautical": 12.0, "civil": 6.0}
_ALIASES = {"dawn": "dawn_civil", "dusk": "dusk_civil", "noon": "solar_noon"}


def next_after(
    event: str, latitude: float, longitude: float, after: datetime.datetime
) -> datetime.datetime | None:
    """Return the next time of *event* after *after*, in UTC, to the second; both are aware.

    Returns None if it does not occur within a year: a pole has no dawn. Raises ``ValueError`` for
    an unknown event, wrong coordinates, and if ``astral`` is not installed.
    """
    for problem in problems(event, latitude, longitude):
        raise ValueError(problem)
    # The solar date, which follows from the longitude and not from the time zone.
    day = (after + datetime.timedelta(hours=longitude / 15)).date() - _DAY
    for _ in range(_LONGEST_DAYS):
        moment = _on(day, _ALIASES.get(event, event), latitude, longitude)
        if moment is not None and moment > after:
            return moment
        day += _DAY
    return None


def problems(event: str, latitude: float | None, longitude: float | None) -> list[str]:
    """Return what is wrong with an event and its coordinates; empty if nothing is."""
    found = []
    if event not in SOLAR_EVENTS:
        found.append(
            f"solar_event must be one of {', '.join(SOLAR_EVENTS)}, got {event!r}."
            f"{did_you_mean(event, SOLAR_EVENTS)}"
        )
    if latitude is None or not -90 <= latitude <= 90:
        found.append(f"latitude must be from -90 to 90 degrees, got {latitude}.")
    if longitude is None or not -180 <= longitude <= 180:
        found.append(f"longitude must be from -180 to 180 degrees, got {longitude}.")
    if importlib.util.find_spec("astral") is None:
        found.append(
            "A solar schedule needs the package astral: "
            "pip install 'django-background-jobs[solar]'."
        )
    return found


def _on(
    day: datetime.date, event: str, latitude: float, longitude: float
) -> datetime.datetime | None:
    """Return the moment of *event* in the solar day that begins at local solar midnight."""
    from astral import Observer, sun

    observer = Observer(latitude, longitude)
    zone = datetime.timezone(datetime.timedelta(hours=longitude / 15))
    name, _, depth = event.partition("_")
    try:
        if name in ("dawn", "dusk"):
            moment = getattr(sun, name)(observer, day, depression=_DEPRESSIONS[depth], tzinfo=zone)
        else:
            function = {"sunrise": sun.sunrise, "sunset": sun.sunset, "solar": sun.noon}[name]
            moment = function(observer, day, tzinfo=zone)
    except ValueError:  # the sun does not reach that angle on that day
        return None
    found: datetime.datetime = moment.astimezone(datetime.UTC).replace(microsecond=0)
    return found
