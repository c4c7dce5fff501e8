"""Signal handlers at the end of a long-running command."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator

from django.core.management.base import BaseCommand

from ..worker.fork import ignore_stops

_NAMES = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGCHLD", "SIGALRM")
# Windows lacks most of them; the commands refuse to run there.
_HANDLED: list[signal.Signals] = [getattr(signal, n) for n in _NAMES if hasattr(signal, n)]


def is_program(command: BaseCommand) -> bool:
    """Return whether *command* was started by ``manage.py``, and not called by another program."""
    return bool(getattr(command, "_called_from_command_line", False))


@contextlib.contextmanager
def handlers_restored(command: BaseCommand) -> Iterator[None]:
    """Run *command*, which handles signals; afterwards ignore them, because its process ends.

    If a program called the command, restore the program's own handlers instead.
    """
    before = {number: signal.getsignal(number) for number in _HANDLED}
    try:
        yield
        if is_program(command):
            logging.shutdown()
            ignore_stops()
    finally:
        if not is_program(command):
            for number, handler in before.items():
                # Python cannot restore a handler that was not set from Python.
                if handler is not None:
                    signal.signal(number, handler)
