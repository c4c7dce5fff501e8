"""Warnings of ``manage.py jobs`` on stderr, before a verb does its work, always in English."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...beat.sync import schedules
from ...conf import get_settings
from ...define.routing import database_of
from ...metrics import known_names
from ...metrics.snapshot import lacks_beat
from ...models import Schedule

# More names are only counted.
_NAMES_SHOWN = 5


def warnings(verb: str, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield warnings about the *given* options of a verb, and about missing beats."""
    yield from filter(None, _unknown_names(verb, given))
    if verb == "token" and given["what"] == "make" and not get_settings().api_tokens:
        yield (
            "DJANGO_JOBS['API_TOKENS'] is not True, so no token opens anything. Set it in "
            "settings.py."
        )
    shows_beats = verb in ("stats", "schedules") or (verb, given.get("what")) == ("inspect", "ping")
    if shows_beats and lacks_beat(given["using"]):
        yield (
            "No beat runs: schedules do not fire. Start `manage.py runbeat`, or `runworker` with "
            "--beat."
        )
    if verb == "schedules":
        yield from _of_code(given["using"])


def _unknown_names(verb: str, given: Mapping[str, Any]) -> Iterator[str]:
    using, name = given.get("using"), given.get("name")
    named: dict[str, list[str]] = {}
    for queue in filter(None, [given.get("queue"), given.get("to"), *given.get("queues", ())]):
        named.setdefault(using or database_of(queue), []).append(queue)
    for database, queues in named.items():
        yield from known_names.unknown_queues(queues, database)
    if name and verb == "limit":
        yield known_names.unknown_limited(name, using or database_of(name))
    elif name and verb not in ("run", "token"):  # it refuses unknown names
        yield known_names.unknown_function(name, using or "")


def _of_code(using: str) -> Iterator[str]:
    found, wrong = schedules(using)
    there = set(Schedule.objects.using(using).values_list("name", flat=True))
    new = sorted(schedule.name for schedule in found if schedule.name not in there)
    if new:
        names = ", ".join(map(repr, new[:_NAMES_SHOWN]))
        more = f" and {len(new) - _NAMES_SHOWN} more" if len(new) > _NAMES_SHOWN else ""
        yield (
            f"The code has schedules without rows: {names}{more}. They get rows when "
            "`manage.py migrate` runs or a beat starts."
        )
    if wrong:
        others = f" `manage.py check` shows {len(wrong) - 1} more." if len(wrong) > 1 else ""
        yield f"A schedule of the code is invalid and gets no row: {wrong[0]}{others}"
