"""``jobs send-event``."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _

from ... import control
from ...exceptions import JobsError
from .output import one_line, write_json


def send_event(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    event: str,
    payload: str,
    keep: float,
    broadcast: bool,
) -> None:
    """Send an event to the job that waits for it, or with *broadcast* to all."""
    try:
        value: Any = json.loads(payload)
    except json.JSONDecodeError as error:
        raise CommandError(
            f"--payload is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    try:
        control.send_event(event, value, keep=keep, broadcast=broadcast, using=using)
    except (ValueError, JobsError) as error:
        raise CommandError(one_line(error)) from None
    if as_json:
        write_json(out, {"sent": event})
    else:
        out.write(one_line(_("Sent the event %s.") % event))
