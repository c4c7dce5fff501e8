"""The options of one call, checked before anything is written."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from uuid import UUID

from django.conf import settings as django_settings
from django.utils import timezone

from .canvas import Canvas, callbacks
from .options import Expiry, priority_problems, queue_problems, unknown_options

# A century: longer ones are mistakes, and overflow the databases' times.
LONGEST_SECONDS = 100 * 365.25 * 86_400


class CallKeywords(TypedDict, total=False):
    """The options of one call; each wins over the job function's own. Times are in seconds."""

    #: Run no earlier than this many seconds from now, by the database's clock.
    countdown: float | None
    #: Run no earlier than this; a naive datetime is in the current time zone.
    eta: datetime.datetime | None
    #: Revoke the job instead if it has not begun by then: seconds, timedelta or datetime.
    expires: Expiry | None
    queue: str | None
    #: −32,767 … 32,767; the higher runs first.
    priority: int | None
    #: JSON that travels with the job: ``self.request.headers``.
    headers: Mapping[str, Any] | None
    #: Id of the job, else a UUID version 7 is made. Raises ``DuplicateKey`` when it exists.
    task_id: UUID | str | None
    #: Write the job outside the caller's transaction, so that it stays when that rolls back.
    durable: bool
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool | None
    #: Signatures to run with the result after a success.
    link: Canvas | Sequence[Canvas] | None
    #: Signatures to run after a failure, with a dict that tells of it.
    link_error: Canvas | Sequence[Canvas] | None


def check(options: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for an unknown option and ``ValueError`` for an impossible value."""
    if unknown := unknown_options(options, CallKeywords.__annotations__):
        raise TypeError(unknown)
    problems: list[str] = []
    if options.get("queue") is not None:
        problems += queue_problems(options["queue"])
    if options.get("priority") is not None:
        problems += priority_problems(options["priority"])
    if options.get("countdown") is not None:
        problems += _seconds_problems("countdown", options["countdown"], -LONGEST_SECONDS)
    for key in ("time_limit", "soft_time_limit"):
        if options.get(key) is not None:
            problems += _seconds_problems(key, options[key], 0.001)
    if problems:
        raise ValueError("; ".join(problems))
    for key in ("link", "link_error"):
        callbacks(options, key)


def _seconds_problems(key: str, value: object, least: float) -> list[str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if least <= value <= LONGEST_SECONDS:  # which NaN fails too
            return []
        return [f"{key} must be from {least:g} to {LONGEST_SECONDS:.0f} seconds, got {value!r}"]
    return [f"{key} must be seconds, got {value!r}"]


def expiry(expires: Expiry | None) -> tuple[datetime.datetime | None, float | None]:
    """Return *expires* as a moment or as seconds from now; raise ``ValueError``."""
    if expires is None:
        return None, None
    if isinstance(expires, datetime.datetime):
        return aware(expires, "expires"), None
    if isinstance(expires, datetime.timedelta):
        expires = expires.total_seconds()
    if isinstance(expires, bool) or not isinstance(expires, (int, float)):
        raise ValueError(f"expires must be seconds, a timedelta or a datetime, got {expires!r}")
    for problem in _seconds_problems("expires", expires, -LONGEST_SECONDS):
        raise ValueError(problem)
    return None, float(expires)


def aware(moment: datetime.datetime, where: str) -> datetime.datetime:
    """Return *moment* as USE_TZ has it; a naive one is in the current time zone."""
    if not isinstance(moment, datetime.datetime):
        raise ValueError(f"{where} must be a datetime, got {moment!r}; seconds go into countdown")
    if django_settings.USE_TZ:
        return timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return moment if timezone.is_naive(moment) else timezone.make_naive(moment)
