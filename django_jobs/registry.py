"""Which job functions exist. A name in a row is looked up here, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import autodiscover_modules

from .exceptions import DuplicateJob, UnknownJob

if TYPE_CHECKING:
    from .define import JobFunction

_functions: dict[str, JobFunction[..., Any, Any]] = {}
# Which import of its module defined each function, for those that one did.
_defined_by: dict[str, ModuleSpec | None] = {}


def register(function: JobFunction[..., Any, Any]) -> None:
    """Add *function*; raise :class:`DuplicateJob` when another one has its name."""
    known = _functions.get(function.name)
    spec = importing(function.__wrapped__.__module__)
    if known is not None and _origin(known) != _origin(function):
        raise DuplicateJob(
            f"two job functions are named {function.name!r}: {' in '.join(_origin(known))} and "
            f"{' in '.join(_origin(function))}; give one of them another name="
        )
    if known is not None and spec is not None and _defined_by.get(function.name) is spec:
        raise DuplicateJob(
            f"{function.__wrapped__.__module__} defines the job function {function.name!r} twice; "
            "give one of them another name="
        )
    _functions[function.name] = function
    _defined_by[function.name] = spec


def importing(module: str) -> ModuleSpec | None:
    """Return what stands for the import of *module* that is under way, or None when none is.

    A reload has an object of its own.
    """
    spec: ModuleSpec | None = getattr(sys.modules.get(module), "__spec__", None)
    return spec if getattr(spec, "_initializing", False) else None


def find(name: str) -> JobFunction[..., Any, Any] | None:
    """Return the job function of that *name*, or None."""
    return _functions.get(name)


def get(name: str) -> JobFunction[..., Any, Any]:
    """Return the job function of that *name*; raise :class:`UnknownJob` when there is none."""
    try:
        return _functions[name]
    except KeyError:
        raise UnknownJob(
            f"no job function is named {name!r}; it must be decorated with @job in an installed "
            "app's jobs.py or tasks.py"
        ) from None


def every() -> Iterator[JobFunction[..., Any, Any]]:
    """Return all job functions, by name."""
    return iter(sorted(_functions.values(), key=lambda function: function.name))


def autodiscover() -> None:
    """Import ``jobs.py`` and ``tasks.py`` of every installed app."""
    autodiscover_modules("jobs")
    autodiscover_modules("tasks")


def _origin(function: JobFunction[..., Any, Any]) -> tuple[str, str]:
    wrapped = function.__wrapped__
    return wrapped.__qualname__, wrapped.__module__
