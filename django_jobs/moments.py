"""Checks seconds and datetimes from users: every database must be able to store them."""

from __future__ import annotations

import datetime
import decimal
import math

from django.conf import settings
from django.utils import timezone

#: A century. A longer time is a mistake, and databases overflow.
LONGEST_SECONDS = 100 * 365.25 * 86_400
# MySQL stores no year before 1000, and Python knows none after 9999. The margin leaves room for a
# century and for time zones.
FIRST_YEAR, LAST_YEAR = 1900, 8999


def seconds(value: object, where: str, *, least: float = -LONGEST_SECONDS) -> float:
    """Return *value*, a number or a timedelta, in seconds.

    *where* names it in the error. Raises ``ValueError`` for another type and beyond a century.
    """
    number = value
    if isinstance(value, datetime.timedelta):
        number = value.total_seconds()
    elif isinstance(value, decimal.Decimal):
        number = float(value) if value.is_finite() else math.nan
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueError(f"{where} must be seconds, got {value!r}.")
    for problem in range_problems(where, number, least):
        raise ValueError(problem)
    return float(number)


def range_problems(where: str, number: float, least: float = -LONGEST_SECONDS) -> list[str]:
    """Return what is wrong with a number of seconds, as a list of sentences."""
    if least <= number <= LONGEST_SECONDS:  # NaN is neither
        return []
    return [f"{where} must be from {least:g} to {LONGEST_SECONDS:.0f} seconds, got {number!r:.40}."]


def aware(moment: object, where: str) -> datetime.datetime:
    """Return *moment* aware or naive, as USE_TZ says; a naive one is in the current time zone.

    *where* names it in the error. Raises ``ValueError`` for another type, and for a year that some
    database or time zone cannot represent.
    """
    if not isinstance(moment, datetime.datetime):
        hint = " Seconds go into countdown." if where == "eta" else ""
        raise ValueError(f"{where} must be a datetime, got {moment!r}.{hint}")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(
            f"{where} must lie in the years {FIRST_YEAR} to {LAST_YEAR}, got {moment!r}."
        )
    if settings.USE_TZ:
        return timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return moment if timezone.is_naive(moment) else timezone.make_naive(moment)


def expiry(
    expires: float | datetime.timedelta | datetime.datetime | None,
) -> tuple[datetime.datetime | None, float | None]:
    """Return *expires* as a moment, or as seconds from now; ``ValueError`` for other types."""
    if expires is None:
        return None, None
    if isinstance(expires, datetime.datetime):
        return aware(expires, "expires"), None
    if isinstance(expires, bool) or not isinstance(expires, (int, float, datetime.timedelta)):
        raise ValueError(
            f"expires must be seconds, a timedelta or a datetime, got {expires!r:.100}."
        )
    return None, seconds(expires, "expires")
