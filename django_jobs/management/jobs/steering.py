"""The arguments of the verbs that steer: control, inspect, pause, resume, limit and top."""

from __future__ import annotations

import argparse
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...worker.flag_types import bounds_or_off, positive
from ..arguments import add_verb

_TEXTS = {
    "ping": gettext_noop("Ask each worker process for a sign of life."),
    "quiet": gettext_noop("Let workers claim nothing new; what they have, they finish."),
    "resume": gettext_noop("Let quiet workers claim again."),
    "add-queue": gettext_noop("Let workers serve one more queue."),
    "remove-queue": gettext_noop("Let workers serve a queue no more."),
    "time-limit": gettext_noop(
        "Set the time limits of a job function; without any, as it declares them."
    ),
    "grow": gettext_noop("Start N more processes of each runworker."),
    "shrink": gettext_noop("Stop N processes of each runworker, after what they run."),
    "autoscale": gettext_noop("Set the bounds of each runworker's number of processes."),
    "shutdown": gettext_noop("Stop each runworker: after what runs or, cold, at once."),
}

SUBJECTS = {
    "active": gettext_noop("Jobs that run now."),
    "reserved": gettext_noop("Jobs that a worker has claimed and not begun."),
    "scheduled": gettext_noop("Jobs that wait for their time, the next one first."),
    "registered": gettext_noop("Job functions that the live workers know."),
    "stats": gettext_noop("What each live worker is and has done."),
    "conf": gettext_noop("The options and settings of each live worker, without secrets."),
    "queues": gettext_noop("Queues: ready and running jobs, who serves them, pauses."),
    "ping": gettext_noop("Which workers are alive, by their heartbeats. Fails when none is."),
}


def add_control(verbs: Any) -> None:
    """Add ``jobs control`` with a parser for each command."""
    text = _("Steer live workers.")
    parser = verbs.add_parser("control", help=text, description=text)
    inner = parser.add_subparsers(dest="what", metavar="COMMAND", required=True)
    for name, text in _TEXTS.items():
        _add_command(inner, name, text)


def _add_command(inner: Any, name: str, text: str) -> None:
    names = _ARGUMENTS.get(name, ())
    parser = add_verb(inner, name, text, "what", "workers", "serving", "timeout", *names)
    for argument in names:
        _add_argument(parser, argument)
    _add_workers(parser)
    parser.add_argument("--queue", dest="serving", help=_("only the workers that serve it"))
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help=_("wait no longer (10)")
    )


_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "add-queue": ("queue",),
    "remove-queue": ("queue",),
    "time-limit": ("job", "hard", "soft"),
    "grow": ("number",),
    "shrink": ("number",),
    "autoscale": ("bounds",),
    "shutdown": ("cold",),
}


def _add_argument(parser: argparse.ArgumentParser, name: str) -> None:
    if name == "queue":
        parser.add_argument("queue", metavar="QUEUE")
    elif name == "job":
        parser.add_argument("job", metavar="JOB", help=_("name of a registered job function"))
    elif name in ("hard", "soft"):
        parser.add_argument(
            f"--{name}", type=float, metavar="S", help=_("%s limit, in seconds") % name
        )
    elif name == "number":
        parser.add_argument("number", nargs="?", type=positive, default=1, metavar="N")
    elif name == "bounds":
        parser.add_argument("bounds", type=bounds_or_off, metavar="MAX,MIN[,S]|off")
    elif name == "cold":
        parser.add_argument("--cold", action="store_true", help=_("give back what runs, at once"))


def add_inspect(verbs: Any) -> None:
    """Add ``jobs inspect`` with a parser for each subject."""
    text = _("See what workers do and are, from their rows.")
    parser = verbs.add_parser("inspect", help=text, description=text)
    inner = parser.add_subparsers(dest="what", metavar="SUBJECT", required=True)
    for name, told in SUBJECTS.items():
        wanted = ["what", "workers"]
        if name in ("active", "reserved", "scheduled"):
            wanted.append("limit")
        if name in ("scheduled", "queues"):
            wanted.remove("workers")
        one = add_verb(inner, name, told, *wanted)
        if "workers" in wanted:
            _add_workers(one)
        if "limit" in wanted:
            one.add_argument(
                "--limit", type=positive, default=100, help=_("most jobs listed (100)")
            )


def add_top(verbs: Any) -> None:
    add_verb(
        verbs,
        "top",
        gettext_noop("Watch queues, workers and running jobs; q or Ctrl-C ends it."),
        "interval",
    ).add_argument(
        "--interval", type=float, default=1.0, metavar="S", help=_("seconds between two looks (1)")
    )


def add_pause_and_resume(verbs: Any) -> None:
    for name, text in (
        ("pause", gettext_noop("Let no worker claim jobs of a queue.")),
        ("resume", gettext_noop("Let workers claim jobs of a paused queue again.")),
    ):
        parser = add_verb(verbs, name, text, "queues")
        parser.add_argument("queues", nargs="+", metavar="QUEUE")


def add_limit(verbs: Any) -> None:
    text = gettext_noop(
        "Set limits of a job function, or of a queue, over those of the code; none is the code's."
    )
    parser = add_verb(verbs, "limit", text, "name", "rate", "concurrency", "key")
    parser.add_argument("name", metavar="NAME", help=_("name of a job function or of a queue"))
    parser.add_argument("--rate", metavar="RATE", help=_("10/m, or several: 10/s, 1000/h"))
    parser.add_argument("--concurrency", metavar="N", help=_("most that run at once"))
    parser.add_argument(
        "--key", metavar="KEY", help=_("only for the jobs with this key: JSON or a text")
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--worker",
        dest="workers",
        action="append",
        default=[],
        metavar="NAME",
        help=_(
            "only this worker: its name, its name without the number, or its id; may be repeated"
        ),
    )
