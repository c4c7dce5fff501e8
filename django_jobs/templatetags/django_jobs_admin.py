"""Template tags for the pages of the admin."""

from __future__ import annotations

import json
import time

from django import template
from django.utils.translation import gettext as _

register = template.Library()


@register.simple_tag
def age_texts() -> str:
    """Return as JSON how the script writes ages and durations, and this host's time in seconds.

    They are the texts of :mod:`django_jobs.display.times`.
    """
    texts = {
        "now": _("now"), "ago": _("%s ago"), "in": _("in %s"),
        "ages": [[86_400, _("%d d")], [3600, _("%d h")], [60, _("%d min")], [1, _("%d s")]],
        "durations": [
            [86_400, 3600, _("%(days)d d %(hours)d h")],
            [3600, 60, _("%(hours)d h %(minutes)d min")],
            [60, 1, _("%(minutes)d min %(seconds)d s")],
            [0, 1, _("%d s")],
        ],
        "at": time.time(),
    }  # fmt: skip
    return json.dumps(texts, ensure_ascii=False)
