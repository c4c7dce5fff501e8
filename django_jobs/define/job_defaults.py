"""``JOB_OPTIONS``: options that the project gives to job functions, by globs of their names."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from ..conf import SETTING, get_settings
from . import registry
from .option_problems import unknown_options
from .options import JobKeywords, JobOptions
from .routing import matches

#: The options that many functions can share: all but the name, and those of a function's shape.
ALLOWED = tuple(name for name in JobKeywords.__annotations__ if name != "name")


def defaults_of(name: str) -> dict[str, Any]:
    """Return what ``JOB_OPTIONS`` gives to the job function *name*.

    All globs that match count. If several set an option, the glob with the most characters besides
    wildcards wins. Entries that the system checks refuse are left out.
    """
    found: dict[str, Any] = {}
    for glob, options in _entries():
        if matches(glob, name):
            found |= options
    return found


def with_defaults(
    name: str, options: Mapping[str, Any], *, below: Mapping[str, Any] | None = None
) -> JobOptions:
    """Return the options of the job function *name*: *options*, else those of ``JOB_OPTIONS``.

    The options *below* are for what neither of them sets.

    Raises ``ImproperlyConfigured`` for values that are wrong or do not fit together.
    """
    given = defaults_of(name)
    try:
        return JobOptions(**{**(below or {}), **given, **options})
    except ImproperlyConfigured as error:
        added = sorted(given.keys() - options.keys())
        given_by = [f"{SETTING}['JOB_OPTIONS'] gives it {', '.join(added)}."] if added else []
        raise ImproperlyConfigured(f"@job {name}: {' '.join([str(error), *given_by])}") from None


def problems() -> Iterator[str]:
    """Yield a sentence for each entry of ``JOB_OPTIONS`` that is left out because it is wrong."""
    for glob, options in get_settings().job_options.items():
        if problem := _problem(glob, options):
            yield f"{SETTING}['JOB_OPTIONS'][{glob!r}] is left out. {problem}"


def idle() -> list[str]:
    """Return the globs of ``JOB_OPTIONS`` that match the name of no job function."""
    names = [function.name for function in registry.every()]
    return [glob for glob, _options in _entries() if not any(matches(glob, n) for n in names)]


def option_problem(options: Mapping[str, Any]) -> str:
    """Return what is wrong with options that are given for many functions, or an empty text."""
    if unknown := unknown_options(options, ALLOWED):
        return unknown
    try:
        JobOptions(**options)
    except ImproperlyConfigured as error:
        return str(error)
    except Exception as error:  # a value of a type that no check expects
        return f"Its values cannot be used: {type(error).__name__}."
    return ""


def _problem(glob: object, options: object) -> str:
    if not isinstance(glob, str):
        return f"A key must be a glob of job names, got {glob!r}."
    if not isinstance(options, Mapping):
        return f"It must be a dict of options of @job, got {type(options).__name__}."
    return option_problem(options)


@functools.cache
def _entries() -> list[tuple[str, Mapping[str, Any]]]:
    """Return the usable entries, the most specific glob last."""
    entries = [
        (glob, options)
        for glob, options in get_settings().job_options.items()
        if not _problem(glob, options)
    ]
    return sorted(entries, key=lambda entry: len(entry[0].translate(_NO_WILDCARDS)))


_NO_WILDCARDS = str.maketrans("", "", "*?")


def _clear(*, setting: str, **_: Any) -> None:
    if setting == SETTING:
        _entries.cache_clear()


setting_changed.connect(_clear)
