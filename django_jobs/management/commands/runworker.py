"""``manage.py runworker``: it parses arguments; :mod:`django_jobs.worker` does the work."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError, connections
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from ...conf import get_settings
from ...db import dialect_for
from ...define.routing import database_of
from ...metrics import known_names
from ...models import Worker
from ...process.heartbeat_file import HeartbeatFile
from ...worker import capacity
from ...worker.flags import add_flags, options_of, with_defaults
from ...worker.fork import leave
from ...worker.options import WorkerOptions, refusals
from ...worker.reload_check import FLAG
from ..arguments import (
    Refused,
    add_process_arguments,
    database,
    database_name,
    process_name,
    refuse_without_fork,
)
from ..base import OfflineCommand
from ..ending import handlers_restored, is_program
from ..greenlets import start_patched
from ..output import banner, protected_output
from ..pidfile import heartbeat_file, pidfile

_log = logging.getLogger("django_jobs.worker")


class Command(OfflineCommand):
    help = gettext_noop(
        "Runs background jobs until SIGTERM or Ctrl-C. A second signal stops it at once."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.description = _(self.help)
        add_flags(parser)
        add_process_arguments(parser)
        # Before a reload, the supervisor starts the command with this flag to check the code.
        parser.add_argument(FLAG, action="store_true", help=argparse.SUPPRESS)
        # rundev tells the output of the beat from that of the workers.
        parser.add_argument("--beat-output", type=int, help=argparse.SUPPRESS)
        for names, instead in _REFUSED.items():
            parser.add_argument(*names.split(), action=Refused, instead=instead, dest="refused")

    def handle(self, *args: Any, **given: Any) -> None:
        refuse_without_fork()
        self.set_up_log(given)
        options = self._options(given)
        if options.pool == "gevent":
            start_patched(self)
        _refuse_without_tables(options.using)
        if given["check_only"]:
            return
        self._check_capacity(options)
        self._warn_of_unknown_queues(options)
        with (
            handlers_restored(self),
            protected_output(self),
            pidfile(given["pidfile"]),
            heartbeat_file(given["heartbeat_file"]) as heartbeats,
        ):
            self.announce(lambda: _banner(options), "worker", options.base_name, **_facts(options))
            code = _run(options, heartbeats, given, is_program=is_program(self))
        if options.pool == "solo" and is_program(self) and _threads_are_left():
            leave(code)
        sys.exit(code)

    def _check_capacity(self, options: WorkerOptions) -> None:
        found = capacity.look(options)
        if found is None:
            return
        problem, refused = capacity.problem(options, found)
        if refused:
            raise CommandError(problem)
        if problem:
            self.warn(problem)
        need = capacity.Need.of(options)
        _log.info(
            "connections processes=%d own=%d jobs=%d allowed=%d used=%d",
            need.processes,
            need.own,
            need.jobs,
            found.allowed,
            found.used,
        )

    def _warn_of_unknown_queues(self, options: WorkerOptions) -> None:
        with contextlib.suppress(OperationalError, InterfaceError):
            named = [*options.queues, *options.exclude_queues]
            for warning in known_names.unknown_queues(named, options.using) if named else ():
                self.warn(warning)

    def _options(self, given: dict[str, Any]) -> WorkerOptions:
        using = database(given)
        for flag in ("max_jobs_per_child", "max_memory_per_child"):
            if given[flag] is not None and given[flag] < 1:
                raise CommandError(
                    f"--{flag.replace('_', '-')} must be at least 1, got {given[flag]}."
                )
        keys: list[str] = []
        try:
            values, keys = with_defaults(given)
            options = options_of(
                values,
                name=process_name(given),
                beat=given["beat"],
                burst=given["burst"],
                using=using,
                grace_seconds=get_settings().shutdown_grace_seconds,
            )
        except ValueError as error:
            raise CommandError(f"{error}{_from_setting(keys)}") from None
        if given["reload"] and options.pool == "solo":
            raise CommandError(
                "--reload needs a supervisor, and a solo pool has none. Use --pool threads or "
                f"prefork.{_from_setting(keys)}"
            )
        for queue in options.queues:
            if database_of(queue) != using:
                raise CommandError(
                    f"Queue {queue!r} lives on database {database_of(queue)!r}. Add --database "
                    f"{database_of(queue)}, or serve it with another worker.{_from_setting(keys)}"
                )
        refused = list(refusals(options))
        if refused:
            raise CommandError(
                f"The {options.pool} pool cannot run these jobs as declared:\n  "
                + "\n  ".join(refused)
                + "\nUse another pool, or exclude the queues of these jobs."
                + _from_setting(keys)
            )
        return options


def _threads_are_left() -> bool:
    """Return whether threads of jobs still run, for which the interpreter would wait."""
    others = set(threading.enumerate()) - {threading.main_thread()}
    return any(not each.daemon for each in others)


def _run(
    options: WorkerOptions,
    heartbeats: HeartbeatFile | None,
    given: Mapping[str, Any],
    *,
    is_program: bool,
) -> int:
    # Windows cannot import these modules; the command has refused to run there by now.
    from ...beat.loop import run_beside
    from ...worker.file_changes import FileChanges
    from ...worker.solo import run_solo
    from ...worker.supervisor import Supervisor

    if options.pool == "solo":
        return run_solo(options, heartbeats)
    run_beat = partial(run_beside, options.using, options.base_name) if options.beat else None
    if run_beat is not None and given["beat_output"] is not None:
        run_beat = partial(_with_output, given["beat_output"], run_beat)
    return Supervisor(
        options,
        run_beat=run_beat,
        heartbeat_file=heartbeats,
        is_program=is_program,
        changes=FileChanges() if given["reload"] else None,
    ).run()


def _with_output(descriptor: int, run: Callable[..., int], *arguments: Any) -> int:
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    return run(*arguments)


# Arguments of Celery's worker.
_REFUSED = {
    "-A --app": "Django's settings name the project. Leave it out",
    "-E --task-events": "all events are rows. Leave it out",
    "-O --optimization": "workers claim no more jobs than they start soon. Leave it out",
    "-f --logfile": "the worker logs to stderr. Redirect it, or set Django's LOGGING",
    "-s --schedule": "schedules are rows. Leave it out",
    "-D --detach": "let systemd, a container or another supervisor run it",
    "--prefetch-multiplier": "workers claim no more jobs than they start soon. Leave it out",
    "--without-gossip": "there is no gossip. Leave it out",
    "--without-mingle": "there is no mingling. Leave it out",
    "--without-heartbeat": "a worker without a heartbeat would be taken for dead. Leave it out",
    "--heartbeat-interval": "set DJANGO_JOBS['HEARTBEAT_SECONDS']",
}


def _from_setting(keys: list[str]) -> str:
    return f" DJANGO_JOBS['WORKER'] gives {', '.join(keys)}." if keys else ""


def _refuse_without_tables(using: str) -> None:
    """Raise ``CommandError`` if the tables are missing; ignore a database that is down."""
    with contextlib.suppress(OperationalError, InterfaceError):
        if Worker._meta.db_table not in connections[using].introspection.table_names():
            raise CommandError(
                f"Database {using!r} has no table {Worker._meta.db_table}: run "
                f"`manage.py migrate{'' if using == 'default' else f' --database {using}'}` first."
            )


def _banner(options: WorkerOptions) -> str:
    queues = ", ".join(options.queues) or _("all")
    if options.exclude_queues:
        names = {"queues": queues, "excluded": ", ".join(options.exclude_queues)}
        queues = _("%(queues)s but %(excluded)s") % names
    lines = [
        (_("queues"), queues),
        (_("pool"), f"{options.pool}, {_size(options)}"),
        (_("database"), database_name(options.using)),
        (_("wake-up"), dialect_for(connections[options.using]).wakeup),
        (_("stops"), _("when the queues are empty") if options.burst else _("on Ctrl-C")),
    ]
    if options.pool == "asyncio" and (options.time_limit or options.soft_time_limit):
        limits = _("only for async def: this pool cannot stop plain functions")
        lines.insert(2, (_("limits"), limits))
    if options.connections:
        text = _("%d, for jobs that use the database")
        lines.insert(2, (_("connections"), text % options.connections))
    if options.beat:
        lines.insert(-1, (_("beat"), _("yes, in its own process")))
    title = _("django_jobs worker %(name)s (pid %(pid)d)")
    return banner(title % {"name": options.base_name, "pid": os.getpid()}, *lines)


def _facts(options: WorkerOptions) -> dict[str, Any]:
    """Return what the banner says, for a record of the log."""
    return {
        "pool": options.pool,
        "processes": options.processes,
        "slots": options.slots,
        **({"connections": options.connections} if options.connections else {}),
        "queues": list(options.queues),
        "exclude_queues": list(options.exclude_queues),
        "database": options.using,
        "beat": options.beat,
        "burst": options.burst,
    }


def _size(options: WorkerOptions) -> str:
    """Return the number of processes, and of jobs that each runs at a time."""
    if options.autoscale:
        bounds = {"least": options.autoscale.least, "most": options.autoscale.most}
        text = _("%(least)d to %(most)d processes") % bounds
    else:
        number = options.processes
        text = ngettext("%d process", "%d processes", number) % number
    return text + (_(" × %d at a time") % options.slots if options.slots > 1 else "")
