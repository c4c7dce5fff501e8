"""Checks values of options: each check returns a list of sentences, empty for a good value."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Collection, Iterable

from ..from_celery.options import OPTIONS
from ..moments import FIRST_YEAR, LAST_YEAR, LONGEST_SECONDS
from ..suggest import closest

#: The highest smallint. Jobs with a higher priority run first.
MAX_PRIORITY = 32_767
#: The highest integer of a column.
MAX_CONCURRENCY = 2**31 - 1
#: The most lines that ``keep_log`` keeps of an attempt.
MOST_LOG_LINES = 1_000


def unknown_options(given: Iterable[str], known: Collection[str]) -> str:
    """Return a text about the options that are not *known*, with what may be meant, or ""."""
    unknown = []
    for name in sorted(set(given) - set(known)):
        near = closest(name, known, 1)
        if name in OPTIONS:
            unknown.append(f"{name} ({OPTIONS[name]})")
        else:
            unknown.append(f"{name} (did you mean {near[0]}=?)" if near else name)
    return f"Unknown option {', '.join(unknown)}. Allowed: {', '.join(known)}." if unknown else ""


def concurrency_problems(number: object) -> list[str]:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        return [f"concurrency must be a whole number ≥ 1 or None, got {number!r}."]
    if number > MAX_CONCURRENCY:
        return [f"concurrency must be at most {MAX_CONCURRENCY:,}, got {number!r}."]
    return []


def queue_problems(queue: object) -> list[str]:
    if not isinstance(queue, str) or not 0 < len(queue) <= 100 or not queue.isprintable():
        return [f"queue must be a printable text of 1 to 100 characters, got {queue!r}."]
    if queue.strip() != queue:
        return [f"queue must not begin or end with blanks, got {queue!r}."]
    if "," in queue:
        return [f"queue must not have a comma, which separates names in --queues, got {queue!r}."]
    if queue[0] in "@!#":
        return [f"queue must not begin with @, ! or #, which are kept for workers, got {queue!r}."]
    return []


def priority_problems(priority: object) -> list[str]:
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > MAX_PRIORITY:
        return [f"priority must be a whole number from -32767 to 32767, got {priority!r}."]
    return []


def keep_log_problems(lines: object) -> list[str]:
    """Check ``keep_log``, which is a bool or a number of lines."""
    if isinstance(lines, bool) or (isinstance(lines, int) and 1 <= lines <= MOST_LOG_LINES):
        return []
    allowed = f"True, False or a number of lines from 1 to {MOST_LOG_LINES}"
    return [f"keep_log must be {allowed}, got {lines!r}."]


def encrypt_problems(encrypt: object) -> list[str]:
    """Check ``encrypt``, which is a bool or the names of some parameters."""
    is_names = isinstance(encrypt, (list, tuple, set, frozenset)) and len(encrypt) > 0
    if isinstance(encrypt, bool) or (
        is_names and all(isinstance(name, str) for name in encrypt)  # type: ignore[attr-defined]
    ):
        return []
    return [f"encrypt must be True, False or a list of names of parameters, got {encrypt!r}."]


def max_retries_problems(limit: object) -> list[str]:
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0):
        return []
    return [f"max_retries must be a whole number ≥ 0 or None, got {limit!r}."]


def backoff_problems(backoff: object) -> list[str]:
    """Check ``retry_backoff``, which is a bool, seconds or a function."""
    if isinstance(backoff, bool) or (is_seconds(backoff) and backoff):
        return []
    if callable(backoff) and not inspect.iscoroutinefunction(backoff):
        try:
            inspect.signature(backoff).bind(0, Exception())
            return []
        except ValueError:  # some built-in functions have no signature
            return []
        except TypeError:
            pass
    allowed = "a bool or seconds > 0, a century at most, or a function of (retries, exception)"
    return [f"retry_backoff must be {allowed}, got {backoff!r}."]


def is_seconds(value: object) -> bool:
    """Return whether *value* is a number of seconds that every database can add to its clock."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value <= LONGEST_SECONDS  # type: ignore[operator]


def expiry_problems(expires: object) -> list[str]:
    if isinstance(expires, datetime.datetime):
        fits = FIRST_YEAR <= expires.year <= LAST_YEAR
    elif isinstance(expires, datetime.timedelta):
        fits = abs(expires.total_seconds()) <= LONGEST_SECONDS
    else:
        fits = expires is None or is_seconds(expires)
    if fits:
        return []
    allowed = (
        f"a timedelta (a century at most), a datetime in the years {FIRST_YEAR} to {LAST_YEAR}"
    )
    return [f"expires must be seconds or {allowed}, or None, got {expires!r}."]


def exception_problems(field: str, value: object) -> list[str]:
    kinds = value if isinstance(value, (list, tuple)) else [value]
    return [
        f"{field} must hold exception classes, got {kind!r}."
        for kind in kinds
        if not (isinstance(kind, type) and issubclass(kind, BaseException))
    ]
