"""Starts ``runworker`` so that its jobs can run in greenlets."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from ..process import native
from ..worker import patched_start
from .ending import is_program


def start_patched(command: BaseCommand) -> None:
    """Start the program over with the patches of gevent; return in a program that has them.

    By now the program has imported Django, which would keep the threads and sockets of Python.
    Raises ``CommandError`` where greenlets cannot work.
    """
    if importlib.util.find_spec("gevent") is None:
        raise CommandError(
            "A gevent pool needs gevent: pip install 'django-background-jobs[gevent]'."
        )
    _refuse_drivers()
    if native.is_patched():
        return
    line = patched_start.command() if is_program(command) else None
    if line is None or patched_start.__file__ in sys.orig_argv:
        raise CommandError(
            "A gevent pool needs gevent's patches before the program imports anything else. Start "
            "`manage.py runworker`, which does so, or begin your program with `from gevent import "
            "monkey; monkey.patch_all()`."
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(line[0], line)  # noqa: S606


def _refuse_drivers() -> None:
    for alias in connections:
        driver: Any = getattr(connections[alias], "Database", None)
        if getattr(driver, "__name__", "") == "MySQLdb":
            raise CommandError(
                f"Database {alias!r} uses mysqlclient. It waits in C, where greenlets cannot take "
                "turns, so each query would hold up all jobs. Use PyMySQL: `pip install PyMySQL`, "
                "and in settings.py `import pymysql; pymysql.install_as_MySQLdb()`. Or use "
                "--pool threads."
            )
