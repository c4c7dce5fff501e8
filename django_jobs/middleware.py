"""Middleware for ``DJANGO_JOBS["MIDDLEWARE"]``, and the functions for ``"HEADERS"`` that feed it.

``locale`` gives a job the language and the time zone of its caller, ``request_id`` the id of the
web request that caused it.
"""

from __future__ import annotations

import contextlib
import logging
import zoneinfo
from collections.abc import Iterator
from contextvars import ContextVar

from django.utils import timezone, translation

from .define.context import JobContext, JobOutcome

__all__ = [
    "JobContext",
    "JobOutcome",
    "RequestIdFilter",
    "current_request_id",
    "locale",
    "locale_headers",
    "request_id",
    "request_id_headers",
]

#: The id of the web request that is served, or that caused the running job; "" without one.
current_request_id: ContextVar[str] = ContextVar("django_jobs_request_id", default="")

_log = logging.getLogger("django_jobs.job")


def locale_headers() -> dict[str, str]:
    """Return the active language and time zone, as the headers ``language`` and ``time_zone``."""
    headers = {"language": translation.get_language(), "time_zone": _zone_name()}
    return {name: value for name, value in headers.items() if value}


def _zone_name() -> str | None:
    zone = timezone.get_current_timezone()
    # A fixed offset has no name by which a worker could find it.
    return zone.key if isinstance(zone, zoneinfo.ZoneInfo) else None


@contextlib.contextmanager
def locale(job: JobContext) -> Iterator[None]:
    """Run the job in the language and the time zone of the headers ``language``, ``time_zone``.

    Without a header the project's default stays. A time zone that this host does not know is
    logged, and the default stays.
    """
    language, zone = (job.request.headers.get(name) for name in ("language", "time_zone"))
    with contextlib.ExitStack() as stack:
        if isinstance(language, str) and language:
            stack.enter_context(translation.override(language))
        if isinstance(zone, str) and zone:
            try:
                stack.enter_context(timezone.override(zoneinfo.ZoneInfo(zone)))
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                _log.warning(
                    "unknown time zone name=%s id=%s: the header time_zone is left out",
                    job.name,
                    job.request.id,
                )
        yield


def request_id_headers() -> dict[str, str]:
    """Return :data:`current_request_id` as the header ``request_id``, if there is one."""
    current = current_request_id.get()
    return {"request_id": current} if current else {}


@contextlib.contextmanager
def request_id(job: JobContext) -> Iterator[None]:
    """Set :data:`current_request_id` to the header ``request_id``, or to the id of the first job.

    The first job is the one that began the workflow, or the job itself.
    """
    given = job.request.headers.get("request_id")
    token = current_request_id.set(str(given or job.request.root_id or job.request.id or ""))
    try:
        yield
    finally:
        current_request_id.reset(token)


class RequestIdFilter(logging.Filter):
    """Gives every record of a handler ``request_id``; "-" without one."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get() or "-"
        return True
