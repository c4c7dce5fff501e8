"""Figures of each country's airports, from a source that often fails."""

import random

from django.conf import settings
from django.db.models import Avg, Count, Q

from .models import Airport

# The order of the CSV's columns; PostgreSQL does not keep the order of JSON keys.
COLUMNS = ("country", "airports", "with_iata", "mean_feet", "highest", "highest_feet")


class SourceUnavailable(ConnectionError):
    """The source of the report did not answer; a retry may succeed."""


def reach_source() -> None:
    """Simulate an unreliable service: fail with the probability REPORT_FAILURE_RATE."""
    if random.random() < settings.REPORT_FAILURE_RATE:
        raise SourceUnavailable("the statistics service answered 503 Service Unavailable")


def country_row(country: str) -> dict[str, str | int]:
    """Return the figures of one country."""
    here = Airport.objects.filter(country=country)
    figures = here.aggregate(
        airports=Count("code"),
        with_iata=Count("code", filter=~Q(iata="")),
        mean_elevation=Avg("elevation_feet"),
    )
    highest = here.order_by("-elevation_feet", "code").first()
    return {
        "country": country,
        "airports": figures["airports"],
        "with_iata": figures["with_iata"],
        "mean_feet": round(figures["mean_elevation"] or 0),
        "highest": str(highest),
        "highest_feet": round(highest.elevation_feet) if highest else 0,
    }
