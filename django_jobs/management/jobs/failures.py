"""``jobs failures``."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...display.job_text import short_class
from ...display.times import relative
from ...metrics import failures
from ..arguments import add_verb
from .output import write_json, write_table


def add_failures(verbs: Any) -> None:
    text = gettext_noop("List what failed in a week, by job function and class of error.")
    add_verb(verbs, "failures", text)


def show_failures(out: OutputWrapper, *, using: str, as_json: bool) -> None:
    """Print the failures of a week, the latest first, without those that an earlier job caused."""
    groups = failures(using)
    if as_json:
        write_json(out, [dataclasses.asdict(group) for group in groups])
    elif groups:
        titles = ("JOB", "ERROR", "HOUR", "DAY", "WEEK", "LAST", "ID")
        cells = [
            (
                group.name, short_class(group.error_class), group.hour, group.day, group.week,
                relative(group.last_seen), group.sample_id,
            )
            for group in groups
        ]  # fmt: skip
        write_table(out, titles, cells)
    else:
        out.write(_("Nothing failed in the last seven days."))
