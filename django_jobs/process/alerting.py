"""Tells people of alerts by mail and webhook: once when one is raised, and once when it is over."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import Request, urlopen
from uuid import UUID

from django.core.mail import mail_admins
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..db import clock
from ..display.alerts import SEVERITIES, alerts
from ..maintenance.prune import hold_lease
from ..metrics.snapshot import look
from ..models import RaisedAlert

_log = logging.getLogger("django_jobs.worker")

#: Seconds between two looks.
LOOK_SECONDS = 30.0
#: How long an alert must last before people are told, unless ``ALERTS`` says it.
AFTER_SECONDS = 60.0
_LEASE, _TIMEOUT = 120.0, 10.0
# Slack's format reads these characters as markup.
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

#: Takes the title and the text of a message.
Channel = Callable[[str, str], None]


def is_on() -> bool:
    """Return whether ``DJANGO_JOBS["ALERTS"]`` names a channel."""
    return bool(channels(get_settings().alerts))


def channels(given: Mapping[str, Any]) -> dict[str, Channel]:
    """Return the channels that the setting names."""
    found: dict[str, Channel] = {}
    if given.get("MAIL_ADMINS"):
        found["mail"] = lambda title, text: mail_admins(title, text)
    if url := given.get("WEBHOOK"):
        found["webhook"] = lambda title, text: _post(str(url), f"{title}: {text}")
    return found


def run_once(using: str, holder: UUID) -> None:
    """Compare the present alerts with those of the last look, and tell what has changed.

    Only one process of the cluster does it at a time. A channel that fails is told again at the
    next look.
    """
    if not hold_lease("alerts", holder, _LEASE, using):
        return
    rows = RaisedAlert.objects.using(using)
    present = {alert.key[:200]: alert for alert in alerts(look(using))}
    known = {row.key: row for row in rows.all()}
    rows.bulk_create(
        RaisedAlert(key=key, text=alert.text, severity=alert.severity, since=clock(using))
        for key, alert in present.items()
        if key not in known
    )
    for key in known.keys() - present.keys():
        _clear(known[key], using)
    after = float(get_settings().alerts.get("AFTER", AFTER_SECONDS))
    for row in rows.filter(key__in=present, since__lte=clock(using, -after)).order_by("since"):
        _raise(row, using)


def _raise(row: RaisedAlert, using: str) -> None:
    title = str(SEVERITIES.get(row.severity, row.severity))
    for name, tell in channels(get_settings().alerts).items():
        if name not in row.told:
            # First the row, then the message: if this process dies between, nobody is told twice.
            _note(row, [*row.told, name], using)
            if not _tell(name, tell, title, row.text):
                _note(row, [each for each in row.told if each != name], using)


def _clear(row: RaisedAlert, using: str) -> None:
    known = channels(get_settings().alerts)
    for name in list(row.told):
        told = [each for each in row.told if each != name]
        _note(row, told, using)
        if name in known and not _tell(name, known[name], _("Over"), row.text):
            _note(row, [*told, name], using)
    if not row.told:
        RaisedAlert.objects.using(using).filter(pk=row.pk).delete()


def _note(row: RaisedAlert, told: list[str], using: str) -> None:
    row.told = told
    row.save(using=using, update_fields=["told"])


def _tell(name: str, tell: Channel, title: str, text: str) -> bool:
    """Return whether the channel took the message."""
    try:
        tell(_("Background jobs: %s") % title, text)
    except Exception as error:
        # The error's text may have the webhook's address, which is a secret.
        _log.warning("alert not sent channel=%s error=%s", name, type(error).__name__)
        return False
    return True


def _post(url: str, text: str) -> None:
    body = json.dumps({"text": text.translate(_SLACK)}).encode()
    request = Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 (E029 checks it)
    with urlopen(request, timeout=_TIMEOUT):  # noqa: S310
        pass
