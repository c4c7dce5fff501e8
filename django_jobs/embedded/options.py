"""The options of an embedded worker, checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..define.routing import database_of, databases
from ..worker.options import WorkerOptions, refusals


def build(
    *,
    concurrency: int,
    queues: Sequence[str] | None,
    exclude: Sequence[str] | None,
    beat: bool,
    stop_timeout: float,
) -> WorkerOptions:
    """Return the options of the worker; raise ``ValueError`` or ``ImproperlyConfigured``."""
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise ValueError(f"concurrency must be a whole number ≥ 1, got {concurrency!r}.")
    if not isinstance(beat, bool):
        raise ValueError(f"beat={beat!r} must be True or False.")
    names = _names("queues", queues)
    options = WorkerOptions(
        pool="threads",
        slots=concurrency,
        queues=names,
        exclude_queues=_names("exclude", exclude),
        beat=beat,
        using=_database(names),
        grace_seconds=_seconds(stop_timeout),
        embedded=True,
    )
    if refused := list(refusals(options)):
        raise ImproperlyConfigured(
            "An embedded worker runs jobs in threads, which cannot run these as declared:\n  "
            + "\n  ".join(refused)
            + "\nExclude their queues and serve them by `manage.py runworker`."
        )
    return options


def _names(option: str, names: Any) -> tuple[str, ...]:
    if names is None:
        return ()
    is_list = isinstance(names, list | tuple | set | frozenset)
    if not is_list or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{option} must be a list of names of queues or None, got {names!r}.")
    return tuple(names)


def _seconds(stop_timeout: Any) -> float:
    is_number = isinstance(stop_timeout, int | float) and not isinstance(stop_timeout, bool)
    if not is_number or not 0 <= stop_timeout < math.inf:
        raise ValueError(f"stop_timeout must be seconds ≥ 0, got {stop_timeout!r}.")
    return float(stop_timeout)


def _database(queues: tuple[str, ...]) -> str:
    """Return the one database that holds the jobs of these queues, or of all queues."""
    found = list(dict.fromkeys(map(database_of, queues))) if queues else databases()
    if len(found) > 1:
        raise ImproperlyConfigured(
            f"The queues live on the databases {', '.join(found)}, and an embedded worker serves "
            "one database. Name queues of one database (queues=[…]), or run a `manage.py runworker "
            "--database` for each."
        )
    return found[0]


def refuse_memory(using: str) -> None:
    """Raise ``ImproperlyConfigured`` if the threads of this process share no database."""
    connection: Any = connections[using]
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        raise ImproperlyConfigured(
            f"Database {using!r} is an SQLite in memory, which each thread has for itself. Name a "
            "file in DATABASES."
        )
