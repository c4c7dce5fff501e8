"""gunicorn's processes and hooks, as the calling functions show them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_MODULE = "gunicorn.arbiter"
#: The arbiter's function that forks and then is a web process.
_SPAWN = "spawn_worker"


def is_master() -> bool:
    """Tell whether gunicorn's master calls, which forks the web processes."""
    frame = _frame()
    return frame is not None and _arbiter(frame).__dict__.get("pid") in (None, os.getpid())


def worker_class() -> type:
    """Return the class of gunicorn's workers; ``object`` if gunicorn does not call."""
    frame = _frame()
    return type(None) if frame is None else _arbiter(frame).worker_class


def in_each_worker(begin: Callable[[], object]) -> None:
    """Call *begin* in each web process that this master forks, when it is about to serve.

    Its user and its signal handlers are in place by then.
    """

    def after_fork() -> None:
        frame = _frame()
        if frame is None or frame.f_code.co_name != _SPAWN or is_master():
            return  # not a web process: the new master of USR2, for example
        configuration = _arbiter(frame).cfg
        hook = configuration.post_worker_init

        def post_worker_init(worker: Any) -> None:
            begin()
            hook(worker)

        configuration.set("post_worker_init", post_worker_init)

    os.register_at_fork(after_in_child=after_fork)


def before_exit(stop: Callable[[], object]) -> None:
    """Call *stop* before this web process of gunicorn exits, while it can still start threads."""
    frame = _frame()
    if frame is None:
        return
    configuration = _arbiter(frame).cfg
    hook = configuration.worker_exit

    def worker_exit(arbiter: Any, worker: Any) -> None:
        stop()
        hook(arbiter, worker)

    configuration.set("worker_exit", worker_exit)


def _frame() -> FrameType | None:
    """Return the innermost call of a function of the arbiter."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") != _MODULE:
        frame = frame.f_back
    return frame


def _arbiter(frame: FrameType) -> Any:
    return frame.f_locals["self"]
