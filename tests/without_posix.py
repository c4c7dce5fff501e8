"""``python -m tests.without_posix``: ``manage.py`` on a Python that lacks what Windows lacks."""

from __future__ import annotations

import asyncio  # noqa: F401  (the standard library's own modules know Windows)
import importlib.abc
import multiprocessing  # noqa: F401
import os
import random  # noqa: F401
import select
import signal
import subprocess  # noqa: F401
import sys
from typing import Any

MODULES = {"resource", "fcntl", "pwd", "grp", "termios"}
SIGNALS = ("QUIT", "HUP", "USR1", "USR2", "ALRM", "CHLD", "PIPE", "KILL", "STOP", "CONT")


class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def become_windows() -> None:
    sys.meta_path.insert(0, Lacking())
    for name in MODULES:
        sys.modules.pop(name, None)
    lacking = {
        signal: [
            *(f"SIG{name}" for name in SIGNALS),
            "setitimer",
            "pthread_sigmask",
            "pthread_kill",
        ],
        os: ["fork", "register_at_fork", "setsid", "killpg", "waitid", "fchdir", "sysconf"],
        select: ["poll"],
    }
    for module, names in lacking.items():
        for name in names:
            vars(module).pop(name, None)


if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    become_windows()
    execute_from_command_line(["manage.py", *sys.argv[1:]])
