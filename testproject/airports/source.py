"""The airports of the airportsdata package."""

import functools

import airportsdata

from .models import Airport


@functools.cache
def airports() -> list[Airport]:
    """Return all airports in the order of their codes; cached, because the file is large."""
    return [_airport(code, row) for code, row in sorted(airportsdata.load("ICAO").items())]


def _airport(code: str, row: airportsdata.Airport) -> Airport:
    return Airport(
        code=code,
        iata=row["iata"],
        name=row["name"],
        city=row["city"],
        region=row["subd"],
        country=row["country"],
        elevation_feet=row["elevation"],
        latitude=row["lat"],
        longitude=row["lon"],
        time_zone=row["tz"],
    )
