"""Commands that change a worker's options, in the process and in its supervisor alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..define import registry
from .options import WorkerOptions, problems_of, unable


def changed_options(
    options: WorkerOptions, verb: str, arguments: Mapping[str, Any]
) -> WorkerOptions:
    """Return *options* as the command *verb* changes them.

    A command may be executed twice: the second time it changes nothing. Raises ``ValueError`` for a
    change that is impossible.
    """
    return OPTION_COMMANDS[verb](options, **arguments)


def _quiet(options: WorkerOptions) -> WorkerOptions:
    return dataclasses.replace(options, quiet=True)


def _resume(options: WorkerOptions) -> WorkerOptions:
    return dataclasses.replace(options, quiet=False)


def _add_queue(options: WorkerOptions, queue: str) -> WorkerOptions:
    queues = options.queues
    if queues and queue not in queues:
        queues = (*queues, queue)
    excluded = tuple(name for name in options.exclude_queues if name != queue)
    changed = dataclasses.replace(options, queues=queues, exclude_queues=excluded)
    for problem in problems_of(changed, queue):
        raise ValueError(f"The {options.pool} pool cannot serve {queue!r}: {problem}")
    return changed


def _remove_queue(options: WorkerOptions, queue: str) -> WorkerOptions:
    if not options.queues:
        excluded = tuple(dict.fromkeys((*options.exclude_queues, queue)))
        return dataclasses.replace(options, exclude_queues=excluded)
    left = tuple(name for name in options.queues if name != queue)
    if not left:
        raise ValueError(
            f"{queue!r} is this worker's only queue. Make it quiet or shut it down instead."
        )
    return dataclasses.replace(options, queues=left)


def _time_limit(
    options: WorkerOptions, job: str, hard: float | None, soft: float | None
) -> WorkerOptions:
    function = registry.find(job)
    if function is None:
        raise ValueError(registry.missing(job))
    reason = unable(options.pool, function, hard, soft)
    if reason:
        raise ValueError(reason)
    limits = {name: pair for name, pair in options.time_limits.items() if name != job}
    if hard or soft:
        limits[job] = (hard, soft)
    return dataclasses.replace(options, time_limits=limits)


#: The commands that change a process's options, by name.
OPTION_COMMANDS: dict[str, Callable[..., WorkerOptions]] = {
    "quiet": _quiet,
    "resume": _resume,
    "add-queue": _add_queue,
    "remove-queue": _remove_queue,
    "time-limit": _time_limit,
}
