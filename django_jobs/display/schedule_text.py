"""Describes a schedule's times in words."""

from __future__ import annotations

from typing import Any

from cron_descriptor import ExpressionDescriptor, Options
from django.utils.translation import get_language, gettext, gettext_lazy, ngettext, to_locale

from ..models import Schedule
from ..schedules.crontab import parse
from .job_text import plain
from .times import exact

Kind = Schedule.Kind

# cron_descriptor's names of languages that Django names by their script.
_LOCALES = {"zh_Hans": "zh_CN", "zh_Hant": "zh_TW"}

SOLAR_LABELS = {
    "dawn_astronomical": gettext_lazy("astronomical dawn"),
    "dawn_nautical": gettext_lazy("nautical dawn"),
    "dawn_civil": gettext_lazy("civil dawn"),
    "dawn": gettext_lazy("dawn"),
    "sunrise": gettext_lazy("sunrise"),
    "solar_noon": gettext_lazy("solar noon"),
    "noon": gettext_lazy("noon"),
    "sunset": gettext_lazy("sunset"),
    "dusk": gettext_lazy("dusk"),
    "dusk_civil": gettext_lazy("civil dusk"),
    "dusk_nautical": gettext_lazy("nautical dusk"),
    "dusk_astronomical": gettext_lazy("astronomical dusk"),
}
#: The units of an interval and their seconds, the largest first.
UNITS = (("weeks", 604_800), ("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


def description(schedule: Schedule) -> str:
    """Return ``At 08:00, Monday through Friday (Europe/Berlin)``; empty for invalid ones."""
    if schedule.kind == Kind.INTERVAL:
        return _interval(schedule.interval_seconds)
    if schedule.kind == Kind.CRONTAB:
        text = _crontab(schedule.crontab)
        return f"{text} ({schedule.timezone})" if text else ""
    if schedule.kind == Kind.CLOCKED:
        return gettext("Once, at %s") % exact(schedule.clocked_at) if schedule.clocked_at else ""
    if schedule.solar_event in SOLAR_LABELS:
        return gettext("At %(event)s at %(latitude)s, %(longitude)s") % {
            "event": SOLAR_LABELS[schedule.solar_event],
            "latitude": f"{schedule.latitude:g}°" if schedule.latitude is not None else "?",
            "longitude": f"{schedule.longitude:g}°" if schedule.longitude is not None else "?",
        }
    return ""


def split_interval(seconds: float | None) -> tuple[float | None, str]:
    """Return a number and its unit: the largest that gives a whole number."""
    if not seconds:
        return None, "minutes"
    for unit, length in UNITS:
        if seconds % length == 0:
            return round(seconds / length), unit
    return seconds, "seconds"


def _interval(seconds: float | None) -> str:
    number, unit = split_interval(seconds)
    if number is None:
        return ""
    whole = int(number) if number == int(number) else 2
    texts = {
        "weeks": ngettext("Every week", "Every %(number)s weeks", whole),
        "days": ngettext("Every day", "Every %(number)s days", whole),
        "hours": ngettext("Every hour", "Every %(number)s hours", whole),
        "minutes": ngettext("Every minute", "Every %(number)s minutes", whole),
        "seconds": ngettext("Every second", "Every %(number)s seconds", whole),
    }
    return texts[unit] % {"number": plain(number)}


def _crontab(expression: str) -> str:
    try:
        fields = list(parse(expression).fields)
    except ValueError:
        return ""
    options: Any = Options()
    options.use_24hour_time_format = True
    locale = to_locale(get_language() or "en")
    options.locale_code = _LOCALES.get(locale, locale)
    fields[2] = fields[2].upper()  # cron_descriptor knows the last day as L only
    try:
        text: str = ExpressionDescriptor(" ".join(fields), options).get_description()
    except Exception:  # croniter accepts more than cron_descriptor knows
        return expression
    return text
