"""Decides whether this process runs an embedded worker, and refuses where none can run."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from django.apps import apps
from django.core import mail

from . import gunicorn

_INSTEAD = "Run `manage.py runworker --beat` beside the server."
#: Modules that put other threads into the place of Python's, and the functions that tell it.
_GREEN = {
    "gevent.monkey": ("is_module_patched", "threading"),
    "eventlet.patcher": ("is_monkey_patched", "thread"),
}
_TESTS = {"_pytest", "unittest"}
#: uvicorn, and gunicorn's workers with it.
_UVICORN = {"uvicorn", "uvicorn_worker"}
#: The module and the function that run a management command.
_COMMAND = ("django.core.management", "execute")


def refuse() -> None:
    """Raise ``RuntimeError`` where no worker can run."""
    if not hasattr(os, "fork"):
        raise RuntimeError(
            "A worker needs a system that can fork, such as Linux or macOS. Windows cannot: run "
            "the site in WSL or in a container."
        )
    if not apps.ready:
        raise RuntimeError(
            "Django is not set up yet. Start the worker in wsgi.py or asgi.py, after "
            "get_wsgi_application() or get_asgi_application(), and not in AppConfig.ready(), which "
            "every management command calls."
        )
    if "uwsgi" in sys.modules:
        raise RuntimeError(
            "Under uWSGI a thread may not survive: it forks its processes past Python. Let its "
            "option attach-daemon run a worker: attach-daemon = python manage.py runworker --beat."
        )
    for module, (function, name) in _GREEN.items():
        if module in sys.modules and getattr(sys.modules[module], function)(name):
            raise RuntimeError(
                f"{module.partition('.')[0]} has replaced Python's threads, and a job in a "
                f"greenlet would hold up the requests. {_INSTEAD}"
            )


def refuse_event_loop() -> None:
    """Raise ``RuntimeError`` if the server's end would not be heard without :func:`asgi`."""
    callers = {_package(frame) for frame in _frames(sys._getframe())}
    callers.add(gunicorn.worker_class().__module__.partition(".")[0])
    if callers.intersection(_UVICORN) or _is_in_event_loop():
        raise RuntimeError(
            "An ASGI server such as uvicorn ends its process by a signal that no thread hears of. "
            "Wrap the application instead, as in "
            "`application = embedded.asgi(get_asgi_application(), concurrency=2)`."
        )


def why_none() -> str:
    """Return why this process runs no worker, or ""."""
    frames = list(_frames(sys._current_frames().get(threading.main_thread().ident or 0)))
    if _TESTS.intersection(map(_package, frames)) or hasattr(mail, "outbox"):
        return "it is a test run"
    for frame in frames:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == _COMMAND:
            return no_requests(frame.f_locals["self"].argv)
    return ""


def no_requests(argv: list[str]) -> str:
    """Return why the process of this management command serves no requests, or ""."""
    command = " ".join(["manage.py", *argv[1:2]])
    if command != "manage.py runserver":
        return f"`{command}` serves no requests"
    if os.environ.get("RUN_MAIN") != "true" and "--noreload" not in argv:
        return "it is the reloader of runserver, whose child serves the requests"
    return ""


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
