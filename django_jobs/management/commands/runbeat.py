"""``manage.py runbeat``: argument parsing only; :mod:`django_jobs.beat` does the work."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from ...beat.beat import Beat, run
from ...conf import get_settings
from ...dialects import dialect_for
from ...log import set_up_console
from ..pidfile import pidfile


class Command(BaseCommand):
    help = "Enqueues the jobs of schedules when they are due. Any number of beats may run."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--once", action="store_true", help="fire what is due now and exit, as from a cron")
        add("-n", "--name", default="", help="name shown for it; default: the host name")
        add(
            "-l",
            "--loglevel",
            default="INFO",
            type=str.upper,
            choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
            help="default: %(default)s",
        )
        add("--database", default=None, help="alias; default: DJANGO_JOBS['DATABASE']")
        add("--pidfile", default=None, help="file that holds the process id while it runs")

    def handle(self, *args: Any, **given: Any) -> None:
        set_up_console(given["loglevel"])
        using = given["database"] or get_settings().database
        if using not in connections:
            raise CommandError(
                f"--database {using!r} is not in DATABASES; it has {', '.join(connections)}"
            )
        with pidfile(given["pidfile"]):
            if given["once"]:
                fired = Beat(using).run_once()
                self.stdout.write(f"{fired} schedules were due")
                return
            self.stdout.write(_banner(using))
            code = run(using, name=given["name"])
        logging.shutdown()
        sys.exit(code)


def _banner(using: str) -> str:
    connection = connections[using]
    return (
        f"django_jobs beat (pid {os.getpid()})\n"
        f"  database  {using} ({connection.display_name})\n"
        f"  wake-up   {dialect_for(connection).wakeup}\n"
        "  stops     on Ctrl-C"
    )
