"""A worker writes its options, settings and job functions into its row when it starts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ..conf import get_settings
from ..define import registry
from ..define.options import JobOptions
from ..define.sensitive import redact
from .options import WorkerOptions

# Options of a job function that are shown when they differ from the default.
_SHOWN = (
    "queue", "priority", "max_retries", "time_limit", "soft_time_limit", "rate_limit",
    "concurrency",
)  # fmt: skip
_TIMED = ("job", "task", "schedule", "enabled")
_DEFAULTS = JobOptions()


def details(options: WorkerOptions) -> dict[str, Any]:
    """Return :attr:`Worker.details`, without secrets."""
    conf = {
        "options": redact(_plain(dataclasses.asdict(options))),
        "settings": settings_shown(),
    }
    return {"conf": conf, "registered": registered()}


def settings_shown() -> dict[str, Any]:
    """Return this process's ``DJANGO_JOBS`` with all defaults, without secrets."""
    settings = get_settings()
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    values["schedules"] = {name: _timed(entry) for name, entry in settings.schedules.items()}
    shown: dict[str, Any] = redact(_plain(values))
    return shown


def _timed(entry: Any) -> dict[str, Any]:
    """Return the job and the times of a schedule in code; its arguments may be secret."""
    given = entry if isinstance(entry, Mapping) else {}
    return {name: given[name] for name in _TIMED if name in given}


def registered() -> dict[str, dict[str, Any]]:
    """Return this process's job functions by name, each with the options that it sets."""
    found = {}
    for function in registry.every():
        options = {name: getattr(function.options, name) for name in _SHOWN}
        found[function.name] = {
            name: _plain(value)
            for name, value in options.items()
            if value != getattr(_DEFAULTS, name)
        }
    return found


def _plain(value: Any) -> Any:
    """Return *value* as JSON can hold it; a function in the settings becomes its name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    return getattr(value, "__qualname__", str(value))
