"""``manage.py jobs mcp``: it parses arguments and serves on stdin and stdout."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from typing import Any

from django.core.management.base import CommandError
from django.db import connections
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ..base import OfflineCommand


class Command(OfflineCommand):
    help = gettext_noop(
        "Serve these verbs as tools to AI agents, by the Model Context Protocol on stdin and "
        "stdout."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.description = _(self.help)
        parser.add_argument(
            "--write",
            action="store_true",
            help=_("also the tools that change something (default: only those that read)"),
        )
        parser.add_argument(
            "--database", choices=list(connections), help=_("alias of the jobs' database")
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from .server import make_server
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types", "pydantic"):
                raise
            raise CommandError(
                "manage.py jobs mcp needs the package mcp, version 2 or newer. Install it: "
                'pip install "django-background-jobs[mcp]".'
            ) from error
        # Only messages may reach stdout. All else that is written there goes to stderr: by
        # handlers of LOGGING and by children through the descriptor, and by print().
        wire = os.dup(sys.stdout.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        sys.stdout = taken_by_sdk = os.fdopen(wire, "w", encoding="utf-8")
        # Records of loggers without a handler, from warnings on.
        logging.basicConfig(stream=sys.stderr)
        # Nothing interrupts the thread that reads stdin, and nothing is left to close.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        server = make_server(
            options["database"], may_write=options["write"], on_start=_print_to_stderr
        )
        server.run("stdio")
        taken_by_sdk.close()


def _print_to_stderr() -> None:
    sys.stdout = sys.stderr
