"""``manage.py runbeat``: it parses arguments; :mod:`django_jobs.beat` does the work."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import Any

from django.core.management.base import CommandError
from django.db import connections
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from ...beat.loop import Beat, run
from ...db import dialect_for
from ..arguments import add_process_arguments, database, database_name, process_name
from ..base import OfflineCommand
from ..ending import handlers_restored
from ..output import banner, protected_output
from ..pidfile import heartbeat_file, pidfile


class Command(OfflineCommand):
    help = gettext_noop(
        "Enqueues the jobs of schedules when they are due. Several beats may run at once."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.description = _(self.help)
        add = parser.add_argument
        add(
            "--once",
            action="store_true",
            help=_("fire the schedules that are due and exit, for use from cron"),
        )
        add("-n", "--name", default="", help=_("name in the admin; default: the host name"))
        add_process_arguments(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        self.set_up_log(given)
        using = database(given)
        if given["once"] and given["heartbeat_file"]:
            raise CommandError(
                "--once ends by itself and needs no --heartbeat-file. Leave one of them out."
            )
        with (
            handlers_restored(self),
            protected_output(self),
            pidfile(given["pidfile"]),
            heartbeat_file(given["heartbeat_file"]) as heartbeats,
        ):
            if given["once"]:
                fired = Beat(using).run_once()
                self.stdout.write(
                    ngettext("%d schedule was due", "%d schedules were due", fired) % fired
                )
                return
            name = process_name(given)
            self.announce(
                lambda: _banner(using), "beat", name or socket.gethostname(), database=using
            )
            on_step = heartbeats.touch if heartbeats else (lambda: None)
            code = run(using, name=name, on_step=on_step)
        sys.exit(code)


def _banner(using: str) -> str:
    connection = connections[using]
    return banner(
        _("django_jobs beat (pid %d)") % os.getpid(),
        (_("database"), database_name(using)),
        (_("wake-up"), dialect_for(connection).wakeup),
        (_("stops"), _("on Ctrl-C")),
    )
