"""Check-ins of schedules: Sentry tells when a schedule's job is late, fails or hangs."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import TYPE_CHECKING, Any

from sentry_sdk.crons import capture_checkin

from ...values import Claimed

if TYPE_CHECKING:
    from ...models import Schedule

#: The header with the slug and the configuration of the monitor.
MONITOR = "sentry-monitor"
_LONGEST_SLUG = 50
# The expressions that Sentry reads as this package does.
_PLAIN = re.compile(r"@\w+|[\w*,/-]+(?: +[\w*,/-]+){4}")
_UNITS = (("week", 10_080), ("day", 1_440), ("hour", 60), ("minute", 1))


def monitor_of(schedule: Schedule) -> dict[str, Any] | None:
    """Return the slug and the configuration of the monitor of *schedule*.

    Returns None if Sentry cannot know its times. It knows no times of the sun, no single time, and
    no interval that is not whole minutes.
    """
    times = _times(schedule)
    if times is None or schedule.one_off:
        return None
    config: dict[str, Any] = {"schedule": times, "timezone": schedule.timezone or "UTC"}
    if schedule.jitter_seconds:
        config["checkin_margin"] = 1 + math.ceil(schedule.jitter_seconds / 60)
    return {"slug": slug_of(schedule.name), "config": config}


def _times(schedule: Schedule) -> dict[str, Any] | None:
    if schedule.kind == "crontab" and _PLAIN.fullmatch(schedule.crontab.strip()):
        return {"type": "crontab", "value": schedule.crontab.strip()}
    minutes, rest = divmod(schedule.interval_seconds or 0, 60)
    if schedule.kind != "interval" or not minutes or rest:
        return None
    unit, size = next((unit, size) for unit, size in _UNITS if minutes % size == 0)
    return {"type": "interval", "value": int(minutes // size), "unit": unit}


def slug_of(name: str) -> str:
    """Return Sentry's name for the monitor of the schedule *name*.

    It has lower case letters, digits, ``_`` and ``-``. If that cuts the name or is a number, a
    digest of the name follows.
    """
    slug = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")
    if name.isascii() and len(slug) <= _LONGEST_SLUG and re.search("[a-z_]", slug):
        return slug
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{slug[: _LONGEST_SLUG - 18].strip('-') or 'schedule'}-{digest}".lstrip("-")


def check_in(job: Claimed, status: str, seconds: float | None = None) -> None:
    """Send a check-in of *job*, if it is that of a monitored schedule.

    All check-ins of a job have its id, so a retry goes on with the one that has begun.
    """
    monitor = headers_of(job).get(MONITOR) if MONITOR in (job.headers or "") else None
    if not isinstance(monitor, dict):
        return
    capture_checkin(
        monitor_slug=monitor["slug"],
        monitor_config=monitor["config"],
        check_in_id=job.id.hex,
        status=status,
        duration=seconds,
    )


def headers_of(job: Claimed) -> dict[str, Any]:
    """Return the headers of a claimed job; none if a person made them unreadable."""
    try:
        headers = json.loads(job.headers) if job.headers else {}
    except ValueError:
        return {}
    return headers if isinstance(headers, dict) else {}
