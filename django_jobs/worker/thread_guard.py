"""The threads of a process: none of them may fail unnoticed."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

from .. import log

_log = logging.getLogger("django_jobs.worker")


def die() -> None:
    """End the process at once.

    Without one of its threads a worker would keep jobs that nobody records or rescues.
    """
    sys.stderr.flush()
    os._exit(1)


def guard(name: str, on_failure: Callable[[], object], target: Callable[[], object]) -> None:
    """Run *target* in this thread of the process *name*; call *on_failure* after an error."""
    log.worker_name.set(name)
    try:
        target()
    except BaseException:
        thread = threading.current_thread().name
        _log.critical("worker failed name=%s thread=%s", name, thread, exc_info=True)
        on_failure()


def start(
    name: str, on_failure: Callable[[], object], targets: dict[str, Callable[[], object]]
) -> list[threading.Thread]:
    """Start a guarded thread for each of *targets*, by the names of the threads."""
    threads = [
        threading.Thread(target=guard, args=(name, on_failure, target), name=thread, daemon=True)
        for thread, target in targets.items()
    ]
    for thread in threads:
        thread.start()
    return threads
