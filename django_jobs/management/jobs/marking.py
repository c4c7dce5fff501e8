"""``jobs mark``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...control.marks import mark
from ..arguments import add_verb
from .output import write_json


def add(verbs: Any) -> None:
    """Add ``jobs mark``."""
    text = gettext_noop("Mark this moment in the charts of the admin, as after a deploy.")
    parser = add_verb(verbs, "mark", text, "label")
    parser.add_argument("label", metavar="NAME", help=_("what the charts show, such as v1.4"))


def make_mark(out: OutputWrapper, *, using: str, as_json: bool, label: str) -> None:
    """Make a mark."""
    try:
        mark(label, using=using)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if as_json:
        write_json(out, {"marked": label})
    else:
        out.write(_("Marked: the charts of the admin show it."))
