"""Statuses as an icon and a word, so that colour is never the only difference."""

from __future__ import annotations

import datetime
import functools

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from ..display.times import duration, exact, relative
from ..status import Status

#: The SVG paths of the icons, in a box of 16 × 16.
ICONS = {
    Status.WAITING: "M4 2h8M4 14h8M5 2c0 4 6 8 6 12M11 2c0 4-6 8-6 12",
    Status.SCHEDULED: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M8 5v3l2 2",
    Status.PENDING: "M3 4h10M3 8h10M3 12h10",
    Status.STARTED: "M5 3l8 5l-8 5z",
    Status.RETRY: "M13 8a5 5 0 1 1-2-4M11 1v3H8",
    Status.SUCCESS: "M3 8l4 4l6-8",
    Status.FAILURE: "M4 4l8 8M12 4l-8 8",
    Status.REVOKED: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M4 4l8 8",
}


def badge(kind: str, path: str, label: object) -> SafeString:
    """Return *label* after an icon; *kind* selects the colours in ``admin.css``."""
    return format_html(
        '<span class="jobs-badge jobs-{}">'
        '<svg viewBox="0 0 16 16" width="14" height="14" fill="none" stroke="currentColor" '
        'stroke-width="2" aria-hidden="true" focusable="false"><path d="{}"/></svg>{}</span>',
        kind,
        path,
        label,
    )


def status_badge(status: str) -> SafeString:
    if status not in Status.values:  # somebody edited the row
        return badge("revoked", ICONS[Status.REVOKED], status)
    return _badge_of(Status(status), get_language())


@functools.cache
def _badge_of(status: Status, language: str | None) -> SafeString:
    return badge(status.lower(), ICONS[status], status.label)


def worker_badge(*, is_live: bool, is_quiet: bool, is_stopped: bool = False) -> SafeString:
    if is_stopped:
        return badge("revoked", "M4 4h8v8H4z", _("stopped"))
    if not is_live:
        return badge("failure", "M4 4l8 8M12 4l-8 8", _("lost"))
    if is_quiet:
        return badge("scheduled", "M5 3v10M11 3v10", _("quiet"))
    return badge("success", "M3 8l4 4l6-8", _("live"))


def paused_badge() -> SafeString:
    return badge("retry", "M5 3v10M11 3v10", _("paused"))


def moment(value: datetime.datetime | None, *, precise: bool = False) -> SafeString:
    """Return a relative time with the exact one as its title; *precise* shows the exact one.

    The script keeps the relative time up to date.
    """
    if value is None:
        return mark_safe("–")
    if precise:
        return format_html('<time datetime="{}">{}</time>', _iso(value), exact(value))
    return format_html(
        '<time data-age datetime="{}" title="{}">{}</time>',
        _iso(value), exact(value), relative(value),
    )  # fmt: skip


def elapsed(since: datetime.datetime, times: float = 1.0) -> SafeString:
    """Return how long something has lasted that began at *since*; the script goes on counting.

    The time is multiplied by *times*.
    """
    return format_html(
        '<time data-since="{}" datetime="{}">{}</time>',
        f"{times:.6g}", _iso(since), duration((timezone.now() - since) * times),
    )  # fmt: skip


def _iso(value: datetime.datetime) -> str:
    """Return the time with its offset, without which a browser takes its own time zone."""
    aware = value if timezone.is_aware(value) else timezone.make_aware(value)
    return aware.isoformat()
