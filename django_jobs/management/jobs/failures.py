"""``jobs failures``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...display.failure_groups import failure_groups
from ...display.job_text import short_class
from ...display.json_rows import failure_group
from ...display.times import relative
from ..arguments import add_verb
from .output import write_json, write_table


def add_failures(verbs: Any) -> None:
    text = gettext_noop(
        "List what failed in a week, by root cause: job function and class of error."
    )
    add_verb(verbs, "failures", text)


def show_failures(out: OutputWrapper, *, using: str, as_json: bool) -> None:
    """Print the failures of a week by root cause, the most frequent of a day first."""
    groups = failure_groups(using).groups
    if as_json:
        write_json(out, [failure_group(group) for group in groups])
    elif groups:
        titles = ("JOB", "ERROR", "HOUR", "DAY", "WEEK", "CONSEQUENCES", "LAST", "ID")
        cells = [
            (
                group.name, short_class(group.error_class) or _("revoked"), group.hour, group.day,
                group.week, group.consequences, relative(group.last_seen),
                group.sample,
            )
            for group in groups
        ]  # fmt: skip
        write_table(out, titles, cells)
    else:
        out.write(_("Nothing failed in the last seven days."))
