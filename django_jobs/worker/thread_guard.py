"""The threads of a process: none of them may fail unnoticed."""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

from .. import log
from ..process import native

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
    name: str,
    on_failure: Callable[[], object],
    targets: Mapping[str, Callable[[], object]],
    may_be_greenlets: Mapping[str, Callable[[], object]] = MappingProxyType({}),
) -> list[native.Thread]:
    """Start a guarded thread for each target, by the names of the threads.

    In a gevent pool the second ones are greenlets, which stand while the code of a job computes.
    """
    threads: list[native.Thread] = []
    for kind, each in ((native.thread, targets), (threading.Thread, may_be_greenlets)):
        for title, target in each.items():
            guarded = functools.partial(guard, name, on_failure, target)
            threads.append(kind(target=guarded, name=title, daemon=True))
    for thread in threads:
        thread.start()
    return threads
