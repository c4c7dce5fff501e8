"""How a command that ran for long gives its process back."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator

from django.core.management.base import BaseCommand

from ..worker.fork import ignore_stops

_NAMES = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGCHLD", "SIGALRM")
# Windows lacks most of them; the commands say there that they do not run.
_HEARD: list[signal.Signals] = [getattr(signal, n) for n in _NAMES if hasattr(signal, n)]


def is_program(command: BaseCommand) -> bool:
    """Tell whether the process is *command*'s own, and not that of a program that called it."""
    return bool(getattr(command, "_called_from_command_line", False))


@contextlib.contextmanager
def process_given_back(command: BaseCommand) -> Iterator[None]:
    """Run *command*, which handles signals, then ignore them, as its process ends.

    A program that called the command goes on, and gets its own handlers back.
    """
    before = {number: signal.getsignal(number) for number in _HEARD}
    try:
        yield
        if is_program(command):
            logging.shutdown()
            ignore_stops()
    finally:
        if not is_program(command):
            for number, handler in before.items():
                # A handler that is not Python's cannot be set again.
                if handler is not None:
                    signal.signal(number, handler)
