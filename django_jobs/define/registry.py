"""The job functions of this process, by the names that rows have."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from ..conf import get_settings
from ..exceptions import DuplicateJob, UnknownJob
from ..suggest import functions_meant, question

if TYPE_CHECKING:
    from ..api.job import JobFunction

# Modules of a package of jobs that are not imported: tests, and modules that run when imported.
_NO_JOBS = re.compile(r"__main__|conftest|tests?|test_.*")

#: The job function of the admin's background jobs.
CHANGE_JOBS = "django_jobs.change_jobs"
#: The job functions that only the package enqueues.
INTERNAL = frozenset({CHANGE_JOBS})

_functions: dict[str, JobFunction[..., Any, Any]] = {}
#: The names of the functions that are given several calls at once.
batched: set[str] = set()
# The import of its module that defined each function, if an import did.
_defined_by: dict[str, ModuleSpec | None] = {}


#: Each is called with a name that no job function has, and may make the job function.
finders: list[Callable[[str], JobFunction[..., Any, Any] | None]] = []


def register(function: JobFunction[..., Any, Any]) -> None:
    """Add *function*; raise :class:`DuplicateJob` when another function has its name."""
    known = _functions.get(function.name)
    spec = importing(function.__wrapped__.__module__)
    if known is not None and _origin(known) != _origin(function):
        raise DuplicateJob(
            f"Two job functions are named {function.name!r}: {' in '.join(_origin(known))} and "
            f"{' in '.join(_origin(function))}. Give one of them another name with @job(name=...)."
        )
    if known is not None and spec is not None and _defined_by.get(function.name) is spec:
        raise DuplicateJob(
            f"{function.__wrapped__.__module__} defines the job function {function.name!r} twice. "
            "Give one of them another name with @job(name=...)."
        )
    _functions[function.name] = function
    if function.options.batch_size is None:
        batched.discard(function.name)
    else:
        batched.add(function.name)
    _near.cache_clear()
    _defined_by[function.name] = spec


def importing(module: str) -> ModuleSpec | None:
    """Return the spec of *module* while it is being imported, else None.

    A reload has a new spec.
    """
    spec: ModuleSpec | None = getattr(sys.modules.get(module), "__spec__", None)
    return spec if getattr(spec, "_initializing", False) else None


def registered(name: str) -> JobFunction[..., Any, Any] | None:
    """Return the job function that was registered under that *name*, or None."""
    return _functions.get(name)


def find(name: str) -> JobFunction[..., Any, Any] | None:
    """Return the job function of that *name*, or None."""
    known = _functions.get(name)
    return known if known is not None or not finders else _found(name)


def _found(name: str) -> JobFunction[..., Any, Any] | None:
    found = (finder(name) for finder in finders)
    return next((each for each in found if each is not None), None)


def get(name: str) -> JobFunction[..., Any, Any]:
    """Return the job function of that *name*; raise :class:`UnknownJob` when there is none."""
    function = find(name)
    if function is None:
        raise UnknownJob(missing(name))
    return function


def missing(name: str) -> str:
    """Return the message that no job function has that *name*, and which one may be meant."""
    hint = question(_near(name))
    return (
        f"No job function is named {name!r}. Define it with @job in the jobs.py or tasks.py of an "
        "installed app, or name its module in DJANGO_JOBS['IMPORTS'], and deploy that code to the "
        f"workers.{hint}"
    )


# A comparison with 500 names takes 14 ms, and a worker may claim many jobs of one name.
@functools.lru_cache(maxsize=256)
def _near(name: str) -> list[str]:
    return functions_meant(name, _functions)


def every() -> Iterator[JobFunction[..., Any, Any]]:
    """Return all job functions, sorted by name."""
    return iter(sorted(_functions.values(), key=lambda function: function.name))


def autodiscover() -> None:
    """Import ``jobs`` and ``tasks`` of every installed app, and the modules of ``IMPORTS``.

    Of packages it imports all modules. Raises ``ImproperlyConfigured`` when there is no module of
    a name in ``IMPORTS``.
    """
    names = [config.name for config in apps.get_app_configs()]
    for part in ("jobs", "tasks"):
        autodiscover_modules(part)
        for name in names:
            if f"{name}.{part}" in sys.modules:
                _import_modules_of(sys.modules[f"{name}.{part}"], names)
    for module in get_settings().imports:
        _import_modules_of(_named(module), names)


def _named(module: object) -> ModuleType:
    name = str(module)
    try:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ModuleNotFoundError(name=name)
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # If an import inside of the module fails, it is not the setting that is wrong.
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ImproperlyConfigured(
            f"DJANGO_JOBS['IMPORTS'] names {module!r}, and there is no such module. Name modules "
            "with job functions by their full names, as in 'shop.background'."
        ) from error


def _import_modules_of(package: ModuleType, apps_left_out: Sequence[str]) -> None:
    # An app named jobs or tasks may have modules that must not be imported at start.
    if package.__name__ in apps_left_out:
        return
    for found in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
        if not _NO_JOBS.fullmatch(found.name.rpartition(".")[2]):
            _import_modules_of(importlib.import_module(found.name), apps_left_out)


def _origin(function: JobFunction[..., Any, Any]) -> tuple[str, str]:
    wrapped = function.__wrapped__
    return wrapped.__qualname__, wrapped.__module__
