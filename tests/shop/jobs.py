"""The job of the tutorial, and a job that runs it and kills its process at a chosen line."""

from __future__ import annotations

import datetime
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import django
from django.test import override_settings

from django_jobs import JobContext, job

from . import PAGE, run_page, services

run_page("jobs", globals())

_BACKEND = "tests.shop.services.Mails"
_MAILS: dict[str, Any] = (
    {"MAILERS": {"default": {"BACKEND": _BACKEND}}}
    if django.VERSION >= (6, 1)
    else {"EMAIL_BACKEND": _BACKEND}
)

#: A point at which nothing is killed, and all points that are passed are noted.
ALL = "all"


def tracer(passed: Callable[[str], None]) -> Callable[..., Any]:
    """Return a trace function that tells each line of the page, and each end of a function."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_name
        if frame.f_code.co_filename != str(PAGE):
            return None
        if event == "line":
            passed(f"{name} {frame.f_lineno}")
        elif event == "return":
            is_suspended = name == "deliver" and argument is None
            passed(f"{name} suspended" if is_suspended else f"{name} end")
        return trace

    return trace


@job(bind=True)
def deliver_killed(self: JobContext, folder: str, point: str, order: int, days: float) -> str:
    """Run the job of the tutorial, with so much patience, and be killed once at the *point*."""
    names: dict[str, Any] = globals()
    names["PATIENCE"] = datetime.timedelta(days=days)
    services.notes = Path(folder, f"notes {order}")
    killed = Path(folder, f"killed {order}")

    def passed(here: str) -> None:
        if point == ALL:
            with killed.open("a") as file:
                file.write(f"{here}\n")
        elif here == point and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    before = sys.gettrace()
    sys.settrace(tracer(passed))
    try:
        with override_settings(**_MAILS):
            return names["deliver"].__wrapped__(self, order)
    finally:
        sys.settrace(before)
