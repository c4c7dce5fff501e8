"""The entries of ``beat_schedule``: they move into ``DJANGO_JOBS["SCHEDULES"]`` as they are."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ....beat.sync import OPTIONS
from ....conf import get_settings
from .finding import BEAT, Finding, Place, Section, name_of, options, text_of

_KEYS = {"task", "schedule", "args", "kwargs", "options"}
_OPTIONS = {*OPTIONS, "expires"}
_CLEANUP = "celery.backend_cleanup"
_BOTH_DAYS = (
    "It has a day of the month and a day of the week: Celery runs it on days that match both, cron "
    "on days that match either. Write one of them, and test the other in the job."
)


def entries(place: Place, schedule: ast.expr) -> Iterator[Finding]:
    """Yield a finding for each entry of a dict of schedules."""
    if not isinstance(schedule, ast.Dict):
        return
    for key, entry in zip(schedule.keys, schedule.values, strict=True):
        if key is None:
            continue
        name = text_of(key) or name_of(key)
        given = _given(entry)
        task = text_of(given.get("task"))
        what = f"beat entry {name!r}{f' of {task}' if task else ''}"
        if task == _CLEANUP:
            text = "Delete it: workers delete expired results by themselves."
        elif name in get_settings().schedules:
            text = "Delete it here, or it runs twice: DJANGO_JOBS['SCHEDULES'] has it."
        else:
            text = " ".join(["Move it to DJANGO_JOBS['SCHEDULES'].", *_changes(given)])
        yield place.finding(key, what, text, BEAT, Section.STEPS)


def _given(entry: ast.expr) -> dict[str, ast.expr]:
    if not isinstance(entry, ast.Dict):
        return options(entry)
    pairs = zip(entry.keys, entry.values, strict=True)
    return {text_of(key): value for key, value in pairs if text_of(key)}


def _changes(given: dict[str, ast.expr]) -> Iterator[str]:
    for name in given.keys() - _KEYS - _OPTIONS:
        yield f"Leave out {name!r}."
    for name in _given(given["options"]).keys() - _OPTIONS if "options" in given else ():
        text = "Use 'queue'." if name in ("routing_key", "exchange") else f"Leave out {name!r}."
        yield f"{text[:-1]} in its options."
    timing = given.get("schedule")
    function = name_of(timing.func) if isinstance(timing, ast.Call) else ""
    if function.endswith("crontab") and {"day_of_month", "day_of_week"} <= options(timing).keys():  # type: ignore[arg-type]
        yield _BOTH_DAYS
    elif function.rpartition(".")[2] == "schedule":
        yield "Give seconds or a timedelta as its schedule."
