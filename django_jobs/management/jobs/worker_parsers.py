"""The parsers of ``jobs control``, ``inspect``, ``pause``, ``resume``, ``limit`` and ``top``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...control.command_table import COMMANDS, CommandType
from ...worker.flag_types import bounds_or_off, positive
from ..arguments import add_verb, add_verbs

SUBJECTS = {
    "active": gettext_noop("Running jobs."),
    "reserved": gettext_noop("Claimed jobs that have not started."),
    "scheduled": gettext_noop("Scheduled jobs, the next one first."),
    "registered": gettext_noop("Job functions of the live workers."),
    "stats": gettext_noop("The state and the counters of each live worker."),
    "conf": gettext_noop("The options and settings of each live worker, without secrets."),
    "queues": gettext_noop("Queues: their ready and running jobs, workers and pauses."),
    "ping": gettext_noop("Live workers, by their heartbeats. Fails if there is none."),
}


def add_control(verbs: Any) -> None:
    """Add ``jobs control`` with a parser for each command."""
    text = _("Send a command to live workers.")
    parser = verbs.add_parser("control", help=text, description=text)
    inner = add_verbs(parser, "what", "COMMAND")
    for name, command in COMMANDS.items():
        _add_command(inner, name, command)


def _add_command(inner: Any, name: str, command: CommandType) -> None:
    names = ("bounds",) if name == "autoscale" else command.arguments
    parser = add_verb(inner, name, command.help, "what", "workers", "serving", "timeout", *names)
    for argument in names:
        flags, options = _ARGUMENTS[argument]
        parser.add_argument(flags, **options())
    _add_workers(parser)
    parser.add_argument(
        "--queue", dest="serving", metavar="QUEUE", help=_("only the workers that serve it")
    )
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help=_("maximum seconds to wait (10)")
    )


# How the command line takes each argument of the commands. Helps are translated when asked for.
_ARGUMENTS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "queue": ("queue", lambda: {"metavar": "QUEUE"}),
    "job": ("job", lambda: {"metavar": "JOB", "help": _("name of a registered job function")}),
    "hard": ("--hard", lambda: _seconds("hard")),
    "soft": ("--soft", lambda: _seconds("soft")),
    "number": ("number", lambda: {"nargs": "?", "type": positive, "default": 1, "metavar": "N"}),
    "bounds": ("bounds", lambda: {"type": bounds_or_off, "metavar": "MAX,MIN[,S]|off"}),
    "cold": (
        "--cold",
        lambda: {
            "action": "store_true",
            "help": _("release running jobs instead of waiting for them"),
        },
    ),
}


def _seconds(name: str) -> dict[str, Any]:
    return {"type": float, "metavar": "S", "help": _("%s limit, in seconds") % name}


def add_inspect(verbs: Any) -> None:
    """Add ``jobs inspect`` with a parser for each subject."""
    text = _("Show the state of workers, jobs and queues, from their rows.")
    parser = verbs.add_parser("inspect", help=text, description=text)
    inner = add_verbs(parser, "what", "SUBJECT")
    for name, text in SUBJECTS.items():
        wanted = ["what", "workers"]
        if name in ("active", "reserved", "scheduled"):
            wanted.append("limit")
        if name in ("scheduled", "queues"):
            wanted.remove("workers")
        one = add_verb(inner, name, text, *wanted)
        if "workers" in wanted:
            _add_workers(one)
        if "limit" in wanted:
            one.add_argument(
                "--limit", type=positive, default=100, help=_("maximum number of jobs (100)")
            )


def add_top(verbs: Any) -> None:
    add_verb(
        verbs,
        "top",
        gettext_noop("Watch queues, workers and running jobs; press q or Ctrl-C to quit."),
        "interval",
    ).add_argument(
        "--interval", type=float, default=1.0, metavar="S", help=_("seconds between updates (1)")
    )


def add_pause_and_resume(verbs: Any) -> None:
    for name, text in (
        ("pause", gettext_noop("Stop workers from claiming the jobs of queues.")),
        ("resume", gettext_noop("Let workers claim the jobs of paused queues again.")),
    ):
        parser = add_verb(verbs, name, text, "queues")
        parser.add_argument("queues", nargs="+", metavar="QUEUE")


def add_limit(verbs: Any) -> None:
    text = gettext_noop(
        "Set limits of a job function or a queue in place of the code's; “none” restores these."
    )
    parser = add_verb(verbs, "limit", text, "name", "rate", "concurrency", "key")
    parser.add_argument("name", metavar="NAME", help=_("name of a job function or of a queue"))
    parser.add_argument("--rate", metavar="RATE", help=_("10/m, or several: 10/s, 1000/h"))
    parser.add_argument(
        "--concurrency", metavar="N", help=_("maximum number of jobs that run at once")
    )
    parser.add_argument(
        "--key", metavar="KEY", help=_("only for the jobs with this key, JSON or text")
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--worker",
        dest="workers",
        action="append",
        default=[],
        metavar="NAME",
        help=_("only this worker: its name, its name without the number, or its id; repeatable"),
    )
