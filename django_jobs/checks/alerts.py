"""Checks of ``DJANGO_JOBS["ALERTS"]``; no message has the webhook's address, which is a secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core import checks

from ..conf import Settings
from ..moments import LONGEST_SECONDS
from ..suggest import did_you_mean

_KEYS = ("AFTER", "MAIL_ADMINS", "WEBHOOK")


def alert_problems(settings: Settings) -> Iterator[checks.CheckMessage]:
    """Yield an error for each value with which no alert could be sent."""
    for problem, hint in _problems(settings.alerts):
        yield checks.Error(problem, hint=hint, id="django_jobs.E029")


def _problems(given: Any) -> Iterator[tuple[str, str]]:
    for key in given:
        if key not in _KEYS:
            hint = f"{did_you_mean(str(key), _KEYS)} Allowed: {', '.join(_KEYS)}.".strip()
            # Another text may be the address.
            is_name = isinstance(key, str) and key.isidentifier()
            shown = repr(key) if is_name else f"of {len(str(key))} characters"
            yield f"DJANGO_JOBS['ALERTS'] has an unknown key {shown}.", hint
    mails, url, after = (given.get(key) for key in ("MAIL_ADMINS", "WEBHOOK", "AFTER"))
    if mails is not None and not isinstance(mails, bool):
        kind = type(mails).__name__
        yield (
            f"DJANGO_JOBS['ALERTS']['MAIL_ADMINS'] must be True or False, got {kind}.",
            "The addresses are those of the setting ADMINS.",
        )
    if mails is True and not django_settings.ADMINS:
        yield (
            "DJANGO_JOBS['ALERTS']['MAIL_ADMINS'] is True, but the setting ADMINS is empty.",
            "Name who gets the mails in ADMINS.",
        )
    if url is not None and not _is_url(url):
        kind = type(url).__name__
        yield (
            f"DJANGO_JOBS['ALERTS']['WEBHOOK'] must be an http(s) address, got {kind}.",
            'Write "WEBHOOK": os.environ["JOBS_WEBHOOK"], the address that Slack gave you.',
        )
    is_number = isinstance(after, (int, float)) and not isinstance(after, bool)
    if after is not None and not (is_number and 0 <= after <= LONGEST_SECONDS):
        shown = after if is_number else type(after).__name__
        yield (
            f"DJANGO_JOBS['ALERTS']['AFTER'] must be a number of seconds from 0 on, got {shown}.",
            "Remove it for the default, 60.",
        )
    if given and not mails and url is None:
        yield "DJANGO_JOBS['ALERTS'] names nobody to tell.", "Set MAIL_ADMINS or WEBHOOK."


def _is_url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and value.isascii()
    except ValueError:
        return False
