"""The queue, the priority and the database of a job."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ..conf import get_settings


def route(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options of a job's first match in ``ROUTES``: ``queue`` and ``priority``.

    An entry is ``{glob: options}`` or a callable of ``(name, args, kwargs)`` that returns options
    or None. Raises ``ImproperlyConfigured`` when a callable returns something else.
    """
    routes = get_settings().routes
    if not routes:
        return {}
    for entry in [routes] if isinstance(routes, Mapping) else routes:
        if callable(entry):
            found = entry(name, args, kwargs)
        else:
            found = next((entry[glob] for glob in entry if matches(glob, name)), None)
        if found is None:
            continue
        if problem := route_problem(found):
            raise ImproperlyConfigured(f"ROUTES answers for {name}: {problem}")
        routed: Mapping[str, Any] = found
        return routed
    return {}


def are_routed_by_arguments() -> bool:
    """Return whether calls of one job function may have several routes."""
    routes = get_settings().routes
    return not isinstance(routes, Mapping) and any(map(callable, routes))


def route_problem(options: Any) -> str:
    """Return what is wrong with the options of a route, or an empty text."""
    if not isinstance(options, Mapping):
        return f"A route must be a dict with 'queue' and 'priority', got {options!r}."
    for name in options.keys() - {"queue", "priority"}:
        hint = " Celery's routing_key is 'queue' here." if name == "routing_key" else ""
        return f"A route has {name!r}, and only 'queue' and 'priority' are allowed.{hint}"
    return ""


def max_pending(queue: str) -> int | None:
    """Return the most pending jobs of *queue*, or None without a limit."""
    limit: int | None = get_settings().queues.get(queue, {}).get("MAX_PENDING")
    return limit


def database_of(queue: str) -> str:
    """Return the alias of the database that holds *queue*'s jobs."""
    settings = get_settings()
    alias: str = settings.queues.get(queue, {}).get("DATABASE", settings.database)
    return alias


def misplaced(queue: str, using: str) -> str:
    """Return why a schedule on *using* cannot use *queue*, or an empty text."""
    alias = database_of(queue)
    if alias == using:
        return ""
    return (
        f"Queue {queue!r} lives on database {alias!r}, and the schedule on {using!r}. "
        f"Name a queue of the same database."
    )


def databases() -> list[str]:
    """Return the aliases of all databases with jobs, that of ``DATABASE`` first."""
    settings = get_settings()
    named = (options.get("DATABASE", settings.database) for options in settings.queues.values())
    return list(dict.fromkeys([settings.database, *named]))


@functools.lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))


def matches(glob: str, name: str) -> bool:
    """Return whether the name of a job function matches *glob*, in exact case."""
    return _pattern(glob).match(name) is not None
