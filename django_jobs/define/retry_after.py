"""The time of the next try that an exception carries."""

from __future__ import annotations

import datetime
import email.utils
from typing import Any

from django.utils import timezone

from ..moments import aware, seconds
from ..serialization import type_of

#: A service may ask for any time; no job waits longer than this many seconds because of it.
LONGEST_WAIT = 86_400.0


def retry_after(error: BaseException) -> tuple[float | None, datetime.datetime | None]:
    """Return the seconds to the next try that *error* asks for, or the moment; None for neither.

    *error* has an attribute ``retry_after`` (seconds, a timedelta, a datetime, or a text as in
    HTTP), or a header ``Retry-After`` in ``response.headers`` or ``headers`` (seconds or a date:
    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after). It asks for a day at most, and for
    no time in the past. Raises ``ValueError`` for any other value, and what a property of *error*
    raises.
    """
    value = getattr(error, "retry_after", None)
    if value is None:
        value = _header(error)
    if value is None:
        return None, None
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, datetime.datetime):
        longest = timezone.now() + datetime.timedelta(seconds=LONGEST_WAIT)
        return None, min(aware(value, "retry_after"), longest)
    return min(max(seconds(value, "retry_after"), 0.0), LONGEST_WAIT), None


def _header(error: BaseException) -> Any:
    response = getattr(error, "response", None)
    headers = getattr(error if response is None else response, "headers", None)
    get = getattr(headers, "get", None)
    if not callable(get):
        return None
    # Most clients have headers that ignore case; some have a dict.
    value = get("Retry-After")
    return get("retry-after") if value is None else value


def _parsed(text: str) -> float | datetime.datetime:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"retry_after must be seconds or an HTTP date, got {type_of(text)}."
        ) from None
    # Dates of HTTP are in GMT.
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
