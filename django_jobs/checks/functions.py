"""Checks of the project's code: the annotations of job functions, and the schedules."""

from __future__ import annotations

import inspect
import pathlib
import re
from typing import TYPE_CHECKING, Any

from django.core import checks

from ..beat.sync import schedules as code_schedules
from ..conf import get_settings
from ..define import job_defaults, registry
from ..define.annotations import Converters, parameter_hints
from ..define.converters import TYPES
from ..define.envelopes import NEW_KEY
from ..define.records import without_fields
from ..suggest import did_you_mean

if TYPE_CHECKING:
    from ..api.job import JobFunction


@checks.register("django_jobs")
def check_schedules(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Refuse invalid schedules of ``@job``, ``SCHEDULES`` and ``add_periodic_task()``."""
    _found, wrong = code_schedules()
    return [checks.Error(text, id="django_jobs.E009") for text in wrong]


@checks.register("django_jobs")
def check_job_options(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of globs of ``JOB_OPTIONS`` that match nothing."""
    names = [function.name for function in registry.every()]
    modules = {f"{'.'.join(parts[:n])}.*" for parts in (name.split(".") for name in names)
               for n in range(1, len(parts))}  # fmt: skip
    return [
        checks.Warning(
            f"DJANGO_JOBS['JOB_OPTIONS'][{glob!r}] matches no job function."
            f"{did_you_mean(glob, [*names, *modules], 1)}",
            hint="Mend the glob, or name the module of the functions in DJANGO_JOBS['IMPORTS'].",
            id="django_jobs.W009",
        )
        for glob in job_defaults.idle()
    ]


@checks.register("django_jobs")
def check_annotations(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of annotations of job functions that cannot bring values back from JSON."""
    found = (
        _problem(function, parameter)
        for function in registry.every()
        for parameter in function.call_signature.parameters.values()
    )
    return [
        checks.Warning(text, hint=hint, id="django_jobs.W006") for text, hint in filter(None, found)
    ]


@checks.register("django_jobs")
def check_encryption(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Refuse job functions with ``encrypt`` in a project without ``ENCRYPTION_KEYS``."""
    if get_settings().encryption_keys:
        return []
    return [
        checks.Error(
            f"{function.name} has encrypt, and DJANGO_JOBS['ENCRYPTION_KEYS'] is empty.",
            hint=f"Make a key, and keep it out of the code: {NEW_KEY}.",
            id="django_jobs.E026",
        )
        for function in registry.every()
        if function.options.encrypt
    ]


_NAMES = frozenset(kind.__name__ for kind in (*TYPES, pathlib.Path, set, frozenset, tuple))


def _problem(
    function: JobFunction[..., Any, Any], parameter: inspect.Parameter
) -> tuple[str, str] | None:
    """Return what is wrong with an annotation and what to do, or None."""
    begin = f"{function.name} annotates its parameter {parameter.name!r} as"
    written, hints = parameter.annotation, parameter_hints(function.called)
    if parameter.name in hints:
        record = without_fields(Converters().of_annotation(hints[parameter.name]))
        if record is None:
            return None
        kind, lost = record.kind.__name__, record.lost[0]
        return (
            f"{begin} {kind}, which takes {lost!r} and keeps no such field.",
            "Make it a field: an InitVar is gone when the job runs.",
        )
    if isinstance(written, str) and not _NAMES.isdisjoint(re.findall(r"\w+", written)):
        return (
            f"{begin} {written}, whose names only type checkers see: the job gets plain JSON.",
            "Import them outside of `if TYPE_CHECKING:`.",
        )
    return None
