"""``manage.py rundev``: the site, a worker and a beat in one terminal, for development."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...conf import get_settings
from ...define.routing import databases
from ...worker.flag_types import positive
from ..arguments import refuse_without_fork
from ..ending import handlers_restored, is_program
from ..output import banner, protected_output

#: Worker processes if neither a flag nor the setting WORKER says how many.
PROCESSES = 2
_SIZES = {"POOL", "CONCURRENCY", "PROCESSES", "AUTOSCALE"}


class Command(BaseCommand):
    help = gettext_noop(
        "For development: runs runserver, a worker and a beat, reloads them when code changes, and "
        "ends them on Ctrl-C."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.description = _(self.help)
        parser.add_argument("addrport", nargs="?", help=_("as of runserver: port or address:port"))
        parser.add_argument(
            "-c", "--concurrency", type=positive, metavar="N", help=_("jobs at a time")
        )

    def handle(self, *args: Any, **given: Any) -> None:
        refuse_without_fork()
        if not is_program(self):
            raise CommandError(
                "`manage.py rundev` starts its own command line anew, so a program cannot call it. "
                "Start it in a terminal."
            )
        # Windows cannot import these modules; the command has refused to run there by now.
        from ...worker.file_changes import FileChanges
        from ..development import OWN, Development, Part
        from ..terminal import Terminal

        in_colour = given["force_color"] or (self.stdout.isatty() and not given["no_color"])
        start, common = _program(), _common(given, in_colour)
        address = [given["addrport"]] if given["addrport"] else []
        parts = [Part("site", [*start, "runserver", *common, *address])]
        parts += [
            Part(f"worker{name}", [*start, "jobs", *common, "worker", *flags], beat=f"beat{name}")
            for name, flags in _workers(given["concurrency"])
        ]
        with handlers_restored(self), protected_output(self):
            names = [name for part in parts for name in part.names]
            self.stdout.write(_banner(names))
            write = partial(_write, self.stdout)
            terminal = Terminal([OWN, *names], write, in_colour=in_colour)
            # protected_output() has wrapped it.
            is_unread: Callable[[], bool] = self.stdout.is_unread
            code = Development(parts, terminal, FileChanges(), is_unread).run()
        sys.exit(code)


def _program() -> list[str]:
    """Return the command line that started this process, without the command and its arguments."""
    return [sys.executable, *sys.orig_argv[1 : sys.orig_argv.index("rundev")]]


def _common(given: Mapping[str, Any], in_colour: bool) -> list[str]:
    """Return the flags of every command; the environment has that of ``--settings``."""
    flags = [f"--verbosity={given['verbosity']}", "--force-color" if in_colour else "--no-color"]
    if given["pythonpath"]:
        flags.append(f"--pythonpath={given['pythonpath']}")
    return flags + (["--traceback"] if given["traceback"] else [])


def _workers(concurrency: int | None) -> list[tuple[str, list[str]]]:
    """Return the ending of the names and the flags of a worker for each database with jobs."""
    flags = ["--reload", "--beat"]
    if concurrency or not _SIZES & get_settings().worker.keys():
        flags.append(f"--concurrency={concurrency or PROCESSES}")
    first, *others = databases()
    return [
        ("", [*flags, f"--database={first}"]),
        *((f" {name}", [*flags, f"--database={name}"]) for name in others),
    ]


def _banner(names: list[str]) -> str:
    return banner(
        _("django_jobs development (pid %d)") % os.getpid(),
        (_("runs"), ", ".join(names)),
        (_("reloads"), _("when code changes")),
        (_("stops"), _("on Ctrl-C")),
    )


def _write(stream: Any, text: str) -> None:
    stream.write(text, ending="")
    stream.flush()
